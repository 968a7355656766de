-- Claim one attempt of a bot for one worker, right before it joins: from here on no other attempt may.
-- KEYS[1] bot hash   ARGV attempt, worker_id, now (ISO 8601)
-- 1: it is ours, and `claimed` names the attempt. 0: the attempt is stale, and nothing has changed.
-- A second claim of the same attempt answers the same, so a lost answer can be asked for again.
local bot = redis.call('HMGET', KEYS[1], 'attempt', 'worker_id', 'state', 'claimed')
if bot[1] ~= ARGV[1] or bot[2] ~= ARGV[2] or bot[3] == 'stopped' then
  return 0
end
if bot[4] ~= ARGV[1] then
  redis.call('HSET', KEYS[1], 'claimed', ARGV[1], 'claimed_at', ARGV[3])
end
return 1
