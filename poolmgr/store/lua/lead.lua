-- Take or renew the lease. Every taking makes a new epoch; from then on the writes of older ones are refused.
-- KEYS: epoch, leader. ARGV: holder, lease in ms, '0' to take / the epoch to renew it.
-- Answers the epoch, or 0 when another holds the lease (or, renewing, has held it). A lease that ran out is renewed
-- while its epoch counts: nobody has led since.
-- A Redis that was set back to an older copy of its data may have given epochs since that it knows nothing of. So a new
-- one is as much above the last as leaders can have come since that was last renewed, which its end of life tells.
local EPOCH_LIFE_S = 2592000 -- long after the last write of any leader that could still be delayed
local MOST_LEADERS_IN_S = 10 -- one is started, asks for the lease, and loses it
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
local left_ms = redis.call('PTTL', KEYS[1])
local since_s = left_ms > 0 and EPOCH_LIFE_S - left_ms / 1000 or 0
local epoch = redis.call('INCRBY', KEYS[1], 1 + math.max(0, math.floor(since_s * MOST_LEADERS_IN_S)))
redis.call('EXPIRE', KEYS[1], EPOCH_LIFE_S)
return epoch
