-- Write facts about a bot that do not change its status.
if not counts(bot, attempt) then return 0 end
redis.call('HSET', bot, unpack(fields))
return 1
