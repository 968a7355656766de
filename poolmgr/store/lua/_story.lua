-- Put before the scripts that tell a bot's story.

-- What happened to a bot goes to the end of its story. Of a long one the middle is lost, and an entry says so: how it began
-- and how it ended is what explains it.
local STORY_MOST, STORY_BEGINNING = 300, 50
local function relate(story_key, entry)
  if redis.call('RPUSH', story_key, entry) <= STORY_MOST then return end
  local first = redis.call('LINDEX', story_key, STORY_BEGINNING)
  if not string.match(first, '"what":"cut"') then
    local at = string.match(first, '"at":"[^"]*"') or '"at":""'
    redis.call('LSET', story_key, STORY_BEGINNING, '{' .. at .. ',"what":"cut"}')
  end
  redis.call('LSET', story_key, STORY_BEGINNING + 1, 'gone')
  redis.call('LREM', story_key, 1, 'gone')
end

-- The names of all bundles of a bot, one more among them.
local function with_evidence(names, name)
  return (names and names ~= '') and names .. ' ' .. name or name
end
