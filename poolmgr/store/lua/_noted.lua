-- Mark in a bot's record, once, that a receiver has taken a webhook of one kind, and add that to the stream `noted`.
local function note_received(bot, noted, keep, bot_id, field)
  if redis.call('EXISTS', bot) == 0 or redis.call('HGET', bot, field) == '1' then return end
  redis.call('HSET', bot, field, 1)
  redis.call('XADD', noted, 'MAXLEN', '~', keep, '*', 'bot_id', bot_id, 'field', field)
  redis.call('EXPIRE', noted, STREAM_LIFE_S)
end
