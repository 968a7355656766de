-- Take an assignment back, unless the agent has claimed it: whoever of the two is first decides.
-- Answers 1 revoked, 0 too late.
local state, latest, claimed = unpack(redis.call('HMGET', bot, 'state', 'attempt', 'claimed'))
if state ~= ASSIGNED or tonumber(latest) ~= attempt or tonumber(claimed) == attempt then return 0 end
redis.call('HSET', bot, 'worker_id', '')
return 1
