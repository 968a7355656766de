-- Tell an agent what one of its bots is to do: leave its meeting, say something there, or end with its browser. That
-- somebody wished the bot's own end is remembered, should the attempt fail first. `entry`: of the story, or empty.
local state, latest = unpack(redis.call('HMGET', bot, 'state', 'attempt'))
if tonumber(latest) == attempt then
  if is_wished then redis.call('HSET', bot, 'leave_requested', 1) end
  if entry ~= '' and state ~= STOPPED then relate(story, entry) end
end
redis.call('XADD', commands, '*', 'm', message)
redis.call('EXPIRE', commands, VM_LIFE_S)
return 1
