-- Whether this attempt of a bot still counts: the bot has not ended, nor been assigned anew.
local function counts(bot, attempt)
  local state, latest = unpack(redis.call('HMGET', bot, 'state', 'attempt'))
  return state and state ~= STOPPED and tonumber(latest) == attempt
end
