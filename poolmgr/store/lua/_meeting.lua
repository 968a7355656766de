-- The holder of a meeting is named by its record, which counts until the bot has ended, or by the entry of a job that the
-- API pushed.
-- Answers the bot that holds the meeting, or nil; then whether a leader is about to make that bot.
local function holder(meeting)
  local bot_id, bot, entry, taken = unpack(redis.call('HMGET', meeting, 'bot_id', 'bot', 'entry', 'taken'))
  if not bot_id then return nil, nil end
  local state = redis.call('HGET', bot, 'state')
  if state then return state ~= STOPPED and bot_id or nil, nil end
  if entry and redis.call('EXISTS', entry) == 1 then return bot_id, nil end
  return nil, taken and bot_id or nil
end
local function hold(meeting, bot_id, bot, entry, life_s, taken)
  redis.call('DEL', meeting)
  redis.call('HSET', meeting, 'bot_id', bot_id, 'bot', bot, 'entry', entry)
  if taken then redis.call('HSET', meeting, 'taken', '1') end
  redis.call('EXPIRE', meeting, life_s)
end
