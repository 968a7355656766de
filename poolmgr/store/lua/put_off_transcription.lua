-- Try a transcript again later, unless its bot was deleted, or it is no longer the one that is to be made.
if redis.call('EXISTS', transcriptions) == 0 then redis.call('ZREM', due, bot_id) end
if not is_current(transcriptions, number, asked) then return 0 end
redis.call('HSET', transcriptions, number, asked)
redis.call('ZADD', due, 'XX', stamp, bot_id)
return 1
