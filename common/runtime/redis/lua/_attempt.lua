-- Whether this attempt of a bot is current: the bot has not ended and was not assigned again.
local function counts(bot, attempt)
  local state, latest = unpack(redis.call('HMGET', bot, 'state', 'attempt'))
  return state and state ~= STOPPED and tonumber(latest) == attempt
end
