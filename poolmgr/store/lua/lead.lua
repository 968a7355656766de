-- Take or renew the lease. Every taking makes a new epoch; from then on the writes of older ones are refused.
-- KEYS: epoch, leader. ARGV: holder, lease in ms, '1' to take / '0' to renew.
-- Answers the epoch, or 0 when another holds the lease (or, renewing, nobody does).
local holder = redis.call('GET', KEYS[2])
if holder and holder ~= ARGV[1] then return 0 end
if ARGV[3] == '0' then
  if not holder then return 0 end
  redis.call('PEXPIRE', KEYS[2], ARGV[2])
  return tonumber(redis.call('GET', KEYS[1]))
end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return redis.call('INCR', KEYS[1])
