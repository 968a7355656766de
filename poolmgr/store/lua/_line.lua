-- A bot's queue of webhooks is a list of `attempts since delivery`; the delivery is JSON.

-- The first webhook, if its id is `id`. Comparing the beginning is safe: inside a JSON string quotation marks are escaped.
local function first_of(line, id)
  local head = redis.call('LINDEX', line, 0)
  if head and string.find(head, '{"id":"' .. id .. '"', 1, true) then return head end
end

-- Add an attempt to the log, latest first.
local function log_attempt(log, entry, life_s)
  redis.call('LPUSH', log, entry)
  redis.call('LTRIM', log, 0, LOG_MOST - 1)
  redis.call('EXPIRE', log, life_s)
end

-- Remove the first webhook. Then the next one is due, or the queue is empty. Answers whether there is a next one.
local function move_up(line, due, line_id, now)
  if redis.call('EXISTS', line) == 0 then
    redis.call('ZREM', due, line_id)
    return 0
  end
  redis.call('ZADD', due, now, line_id)
  return 1
end
