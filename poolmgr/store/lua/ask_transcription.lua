-- Ask for another transcript of a bot's recording: it is durable, and due at once. `asked`: as JSON. Answers
-- its number; 0: the bot has not ended, or does not exist; -1: another one is being made; -2: the bot has as many as it may have.
if redis.call('HGET', bot, 'state') ~= STOPPED then return 0 end
if redis.call('ZSCORE', due, bot_id) then return -1 end
local number = redis.call('HLEN', transcriptions) + (redis.call('HEXISTS', transcriptions, 1) == 1 and 1 or 2)
if number > MOST_TRANSCRIPTS then return -2 end
redis.call('HSET', transcriptions, number, asked)
redis.call('EXPIRE', transcriptions, INDEX_LIFE_S)
redis.call('ZADD', due, stamp, bot_id)
redis.call('EXPIRE', due, INDEX_LIFE_S)
relate(story, entry)
note_action(actions, action)
return number
