-- Try a transcript, of that attempt, again later, unless its bot was deleted or a later attempt has superseded it.
if redis.call('EXISTS', transcriptions) == 0 then redis.call('ZREM', due, bot_id) end
if not is_current(transcriptions, number, attempt) then return 0 end
redis.call('HSET', transcriptions, number, asked)
redis.call('ZADD', due, 'XX', stamp, bot_id)
return 1
