-- Take or renew the lease. Taking it makes a new epoch, and writes of older epochs are refused from then on.
-- `renewed`: 0 to take, the epoch to renew it.
-- Answers the epoch; 0: another process holds the lease, or has held it since. A lease that expired is renewed while its
-- epoch is the latest: nobody has led since.
-- A Redis that was restored from an older copy does not know the epochs given since. So a new epoch is higher than the last
-- one by as many as leaders can have come since the last renewal, which the key's expiry tells.
local before = redis.call('GET', leader)
if before and before ~= holder then return 0 end
if renewed ~= 0 then
  if tonumber(redis.call('GET', epoch)) ~= renewed then return 0 end
  if before then
    redis.call('PEXPIRE', leader, lease_ms)
  else
    redis.call('SET', leader, holder, 'PX', lease_ms)
  end
  redis.call('EXPIRE', epoch, EPOCH_LIFE_S)
  return renewed
end
redis.call('SET', leader, holder, 'PX', lease_ms)
local left_ms = redis.call('PTTL', epoch)
local since_s = left_ms > 0 and EPOCH_LIFE_S - left_ms / 1000 or 0
local taken = redis.call('INCRBY', epoch, 1 + math.max(0, math.floor(since_s * MOST_LEADERS_IN_S)))
redis.call('EXPIRE', epoch, EPOCH_LIFE_S)
return taken
