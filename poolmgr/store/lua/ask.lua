-- Order an agent to do something with a bot: leave, write in the chat, or end with its browser. If somebody asked for the
-- bot's end, that is noted in case the attempt fails first; so is that its recording pauses (`paused` is '1') or goes on ('0').
-- `entry`: of the story, or empty.
local state, latest = unpack(redis.call('HMGET', bot, 'state', 'attempt'))
if tonumber(latest) == attempt then
  if is_wished then redis.call('HSET', bot, 'leave_requested', 1) end
  if paused ~= '' then redis.call('HSET', bot, 'paused', paused) end
  if entry ~= '' and state ~= STOPPED then relate(story, entry) end
end
redis.call('XADD', commands, '*', 'm', message)
redis.call('EXPIRE', commands, VM_LIFE_S)
return 1
