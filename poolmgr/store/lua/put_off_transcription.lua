-- Try a transcript again later, unless its bot was deleted.
if redis.call('HEXISTS', transcriptions, number) == 0 then
  redis.call('ZREM', due, bot_id)
  return 0
end
redis.call('HSET', transcriptions, number, asked)
redis.call('ZADD', due, 'XX', stamp, bot_id)
return 1
