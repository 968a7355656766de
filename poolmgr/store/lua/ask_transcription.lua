-- Somebody asks for another transcript of a bot's recording: it is durable, and tried at once. `asked`: as JSON. `most`: of one
-- bot.
-- Answers its number; 0: the bot has not ended, or is none; -1: another one is under way; -2: there are as many as may be.
if redis.call('HGET', bot, 'state') ~= STOPPED then return 0 end
if redis.call('ZSCORE', due, bot_id) then return -1 end
local number = redis.call('HLEN', transcriptions) + (redis.call('HEXISTS', transcriptions, 1) == 1 and 1 or 2)
if number > most then return -2 end
redis.call('HSET', transcriptions, number, asked)
redis.call('EXPIRE', transcriptions, INDEX_LIFE_S)
redis.call('ZADD', due, stamp, bot_id)
redis.call('EXPIRE', due, INDEX_LIFE_S)
relate(story, entry)
note_action(actions, action)
return number
