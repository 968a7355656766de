-- A scheduled bot joins at another time. KEYS: epoch, bot, story. ARGV: epoch, join_at (ISO), entry of the story.
if redis.call('HGET', KEYS[2], 'state') ~= 'scheduled' then return 0 end
redis.call('HSET', KEYS[2], 'join_at', ARGV[2])
relate(KEYS[3], ARGV[3])
return 1
