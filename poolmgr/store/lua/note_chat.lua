-- Add messages of a bot's meeting, oldest first; the latest ones are kept. A message that comes again is not added.
if not counts(bot, attempt) then return 0 end
for _, line in ipairs(lines) do
  if not redis.call('LPOS', chats, line) then redis.call('RPUSH', chats, line) end
end
redis.call('LTRIM', chats, -MOST_NOTED, -1)
redis.call('EXPIRE', chats, life_s)
return 1
