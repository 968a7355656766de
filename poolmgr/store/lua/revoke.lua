-- Take an assignment back, unless the agent has claimed it: whoever of the two is first decides.
-- KEYS: epoch, bot. ARGV: epoch, attempt. Answers 1 revoked, 0 too late.
local now = redis.call('HMGET', KEYS[2], 'state', 'attempt', 'claimed')
if now[1] ~= 'assigned' or now[2] ~= ARGV[2] or now[3] == ARGV[2] then return 0 end
redis.call('HSET', KEYS[2], 'worker_id', '')
return 1
