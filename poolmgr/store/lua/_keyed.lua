-- A deduplication_key names the bot that was made with it, or, after KEY_HELD, the one that a leader is about to make.
-- Answers the former, then the latter.
local function keyed(dedup)
  local named = redis.call('GET', dedup)
  if not named then return nil, nil end
  if string.sub(named, 1, #KEY_HELD) == KEY_HELD then return nil, string.sub(named, #KEY_HELD + 1) end
  return named, nil
end
