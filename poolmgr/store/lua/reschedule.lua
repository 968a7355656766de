-- Give a scheduled bot another time.
if redis.call('HGET', bot, 'state') ~= SCHEDULED then return 0 end
redis.call('HSET', bot, 'join_at', join_at)
relate(story, entry)
return 1
