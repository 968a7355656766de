-- Take a bot out of the index of those with a transcript that is due, if none is to be made, or if its record is gone.
if redis.call('EXISTS', bot) == 1 and is_any_under_way(transcriptions) then return 0 end
return redis.call('ZREM', due, bot_id)
