-- Record the state of a bot's live feed, also after the bot's end.
if tonumber(redis.call('HGET', bot, 'attempt')) ~= attempt then return 0 end
redis.call('HSET', bot, unpack(fields))
relate(story, entry)
return 1
