-- Assign a bot: bot, worker and the agent's order change together, or not at all.
local state, before = unpack(redis.call('HMGET', bot, 'state', 'attempt'))
if state ~= QUEUED or tonumber(before) ~= attempt - 1 then return 0 end
announce(bot, status, outbox, keep, bot_id, at, fields)
relate(story, entry)
redis.call('HSET', workers, worker_id, worker)
redis.call('XADD', commands, '*', 'm', message)
redis.call('EXPIRE', workers, VM_LIFE_S)
redis.call('EXPIRE', commands, VM_LIFE_S)
return 1
