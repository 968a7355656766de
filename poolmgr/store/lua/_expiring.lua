-- Have what the store has of a bot's meeting deleted when it was kept for as long as its job says, or `retention_s`, 0:
-- for ever.
local function expire_recording(expiring, bot, bot_id, stamp, retention_s)
  local hours = tonumber(redis.call('HGET', bot, 'recording_hours') or '')
  local keep_s = hours and hours * HOUR_S or tonumber(retention_s)
  if keep_s <= 0 then return end
  redis.call('ZADD', expiring, stamp + keep_s, bot_id)
  redis.call('EXPIRE', expiring, RETENTION_LIFE_S)
end
