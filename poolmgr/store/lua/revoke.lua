-- Revoke an assignment unless the agent has claimed it: the first of the two counts.
-- Answers 1: revoked; 0: too late.
local state, latest, claimed = unpack(redis.call('HMGET', bot, 'state', 'attempt', 'claimed'))
if state ~= ASSIGNED or tonumber(latest) ~= attempt or tonumber(claimed) == attempt then return 0 end
redis.call('HSET', bot, 'worker_id', '')
return 1
