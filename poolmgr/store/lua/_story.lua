-- Add an entry to a bot's history. A long history loses its middle, and an entry says so: its beginning and its end
-- explain most.
local function relate(story, entry)
  if redis.call('RPUSH', story, entry) <= STORY_MOST then return end
  local first = redis.call('LINDEX', story, STORY_BEGINNING)
  if not string.match(first, '"what":"cut"') then
    local at = string.match(first, '"at":"[^"]*"') or '"at":""'
    redis.call('LSET', story, STORY_BEGINNING, '{' .. at .. ',"what":"cut"}')
  end
  redis.call('LSET', story, STORY_BEGINNING + 1, 'gone')
  redis.call('LREM', story, 1, 'gone')
end
