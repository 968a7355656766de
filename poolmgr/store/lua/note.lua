-- Facts about a bot that are no change of status.
if not counts(bot, attempt) then return 0 end
redis.call('HSET', bot, unpack(fields))
return 1
