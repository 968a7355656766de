-- Add the name of a bundle of evidence to the bot's record.
local function name_bundle(bot, bundle)
  local names = redis.call('HGET', bot, 'evidence')
  redis.call('HSET', bot, 'evidence', (names and names ~= '') and names .. ' ' .. bundle or bundle)
end
