-- Take or renew the lease. Every taking makes a new epoch; from then on the writes of older ones are refused.
-- KEYS: epoch, leader. ARGV: holder, lease in ms, '0' to take / the epoch to renew it.
-- Answers the epoch, or 0 when another holds the lease (or, renewing, has held it). A lease that ran out is renewed
-- while its epoch counts: nobody has led since.
local EPOCH_LIFE_S = 2592000 -- long after the last write of any leader that could still be delayed
local holder = redis.call('GET', KEYS[2])
if holder and holder ~= ARGV[1] then return 0 end
if ARGV[3] ~= '0' then
  if redis.call('GET', KEYS[1]) ~= ARGV[3] then return 0 end
  if holder then
    redis.call('PEXPIRE', KEYS[2], ARGV[2])
  else
    redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
  end
  redis.call('EXPIRE', KEYS[1], EPOCH_LIFE_S)
  return tonumber(ARGV[3])
end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
local epoch = redis.call('INCR', KEYS[1])
redis.call('EXPIRE', KEYS[1], EPOCH_LIFE_S)
return epoch
