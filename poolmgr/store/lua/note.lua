-- Facts about a bot that are no change of status.
-- KEYS: epoch, bot. ARGV: epoch, attempt, then field value pairs.
local now = redis.call('HMGET', KEYS[2], 'state', 'attempt')
if not now[1] or now[1] == 'stopped' or now[2] ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[2], unpack(rest(3)))
return 1
