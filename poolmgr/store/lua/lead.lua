-- Take or renew the lease. Every taking makes a new epoch; from then on the writes of older ones are refused.
-- `renewed`: 0 to take, the epoch to renew it.
-- Answers the epoch, or 0 when another holds the lease (or, renewing, has held it). A lease that ran out is renewed
-- while its epoch counts: nobody has led since.
-- A Redis that was set back to an older copy of its data may have given epochs since that it knows nothing of. So a new
-- one is as much above the last as leaders can have come since that was last renewed, which its end of life tells.
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
