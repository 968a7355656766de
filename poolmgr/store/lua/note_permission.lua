-- Record, each once, that a bot's meeting permits no recording, or permits it again: `permission`, which is the report
-- `number` of this attempt.
if not counts(bot, attempt) then return 0 end
if number <= tonumber(redis.call('HGET', bot, 'permission_reports') or 0) then return 0 end
redis.call('HSET', bot, 'permission_reports', number)
call_back(outbox, bot, bot_id, attempt, at, {'permission', permission})
return 1
