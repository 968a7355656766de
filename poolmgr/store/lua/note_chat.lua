-- What was said in a bot's meeting, oldest first; the latest lines are kept. A line that comes again is there already.
if not counts(bot, attempt) then return 0 end
for _, line in ipairs(lines) do
  if not redis.call('LPOS', chats, line) then redis.call('RPUSH', chats, line) end
end
redis.call('LTRIM', chats, -MOST_NOTED, -1)
redis.call('EXPIRE', chats, life_s)
return 1
