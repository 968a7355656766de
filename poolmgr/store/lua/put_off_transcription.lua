-- A transcript is tried again later; of a bot that is forgotten it is not.
if redis.call('HEXISTS', transcriptions, number) == 0 then
  redis.call('ZREM', due, bot_id)
  return 0
end
redis.call('HSET', transcriptions, number, asked)
redis.call('ZADD', due, 'XX', stamp, bot_id)
return 1
