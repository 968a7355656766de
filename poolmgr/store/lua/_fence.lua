-- Put before every script that writes for the leader. One that was replaced finds out here, before it has changed anything.
if redis.call('GET', epoch_key) ~= epoch then
  return redis.error_reply('STALE_EPOCH another manager leads')
end
