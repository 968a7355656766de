-- Order an agent to make the files of a bot's recording of what the store has. `look_at`: when to look again whether they
-- are there.
local latest, manifest_status = unpack(redis.call('HMGET', bot, 'attempt', 'manifest_status'))
if tonumber(latest) ~= attempt or manifest_status ~= 'recording' then return 0 end
relate(story, entry)
redis.call('ZADD', due, 'XX', look_at, bot_id)
redis.call('XADD', commands, '*', 'm', message)
redis.call('EXPIRE', commands, VM_LIFE_S)
return 1
