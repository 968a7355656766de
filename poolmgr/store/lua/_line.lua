-- Put before the scripts on a bot's line of webhooks: a list of `attempts since delivery`, the delivery as JSON.

-- The first one in line, if it is that of `id`. No delivery holds the text of another one's beginning: in the middle of
-- a JSON string every quotation mark is escaped.
local function first_of(line_key, id)
  local head = redis.call('LINDEX', line_key, 0)
  if head and string.find(head, '{"id":"' .. id .. '"', 1, true) then return head end
end

-- What came of one attempt, the latest first.
local function log_attempt(log_key, entry, life)
  redis.call('LPUSH', log_key, entry)
  redis.call('LTRIM', log_key, 0, 199)
  redis.call('EXPIRE', log_key, life)
end

-- The line is one shorter: its next one is due, or the bot has nothing to be told. Answers whether there is a next one.
local function move_up(line_key, due_key, bot_id, now)
  if redis.call('EXISTS', line_key) == 0 then
    redis.call('ZREM', due_key, bot_id)
    return 0
  end
  redis.call('ZADD', due_key, now, bot_id)
  return 1
end

