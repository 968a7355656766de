-- A bot's line of webhooks is a list of `attempts since delivery`, the delivery as JSON.

-- The first one in line, if it is that of `id`. No delivery holds the text of another one's beginning: in the middle of
-- a JSON string every quotation mark is escaped.
local function first_of(line, id)
  local head = redis.call('LINDEX', line, 0)
  if head and string.find(head, '{"id":"' .. id .. '"', 1, true) then return head end
end

-- What came of one attempt, the latest first.
local function log_attempt(log, entry, life_s)
  redis.call('LPUSH', log, entry)
  redis.call('LTRIM', log, 0, LOG_MOST - 1)
  redis.call('EXPIRE', log, life_s)
end

-- The line is one shorter: its next one is due, or the bot has nothing to be told. Answers whether there is a next one.
local function move_up(line, due, bot_id, now)
  if redis.call('EXISTS', line) == 0 then
    redis.call('ZREM', due, bot_id)
    return 0
  end
  redis.call('ZADD', due, now, bot_id)
  return 1
end
