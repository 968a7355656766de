-- What was said in a bot's meeting, oldest first; the latest lines are kept. A line that comes again is there already.
-- KEYS: epoch, bot, chats. ARGV: epoch, attempt, most kept, life in s, then one JSON object for each line.
local now = redis.call('HMGET', KEYS[2], 'state', 'attempt')
if not now[1] or now[1] == 'stopped' or now[2] ~= ARGV[2] then return 0 end
for i = 5, #ARGV do
  if not redis.call('LPOS', KEYS[3], ARGV[i]) then redis.call('RPUSH', KEYS[3], ARGV[i]) end
end
redis.call('LTRIM', KEYS[3], -ARGV[3], -1)
redis.call('EXPIRE', KEYS[3], ARGV[4])
return 1
