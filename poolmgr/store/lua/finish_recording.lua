-- Order an agent to make the files of a bot's recording, or its transcript, of what the store has. `look_at`: when to
-- look again whether they are there.
local latest, recorded, transcribed = unpack(redis.call('HMGET', bot, 'attempt', 'recorded_attempt', 'transcribed_attempt'))
local is_known = tonumber(latest) == attempt or tonumber(recorded) == attempt or tonumber(transcribed) == attempt
if not is_known or not awaits_agent(bot) then return 0 end
relate(story, entry)
redis.call('ZADD', due, 'XX', look_at, bot_id)
redis.call('XADD', commands, '*', 'm', message)
redis.call('EXPIRE', commands, VM_LIFE_S)
return 1
