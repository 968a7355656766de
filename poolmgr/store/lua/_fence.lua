-- Comes before every script that writes for the leader. A leader that was replaced is stopped here, before it changes
-- anything.
if redis.call('GET', epoch_key) ~= epoch then
  return redis.error_reply('STALE_EPOCH another manager leads')
end
