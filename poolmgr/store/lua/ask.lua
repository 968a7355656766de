-- Tell an agent what one of its bots is to do: leave its meeting, say something there, or end with its browser. That
-- somebody wished the bot's own end is remembered, should the attempt fail first.
-- KEYS: epoch, bot, commands, story. ARGV: epoch, attempt, message, commands' life in s, '1' if somebody wished the bot's
-- own end, entry of the story (or empty).
if redis.call('HGET', KEYS[2], 'attempt') == ARGV[2] then
  if ARGV[5] == '1' then redis.call('HSET', KEYS[2], 'leave_requested', 1) end
  if ARGV[6] ~= '' and redis.call('HGET', KEYS[2], 'state') ~= 'stopped' then relate(KEYS[4], ARGV[6]) end
end
redis.call('XADD', KEYS[3], '*', 'm', ARGV[3])
redis.call('EXPIRE', KEYS[3], ARGV[4])
return 1
