-- A scheduled bot joins at another time. KEYS: epoch, bot. ARGV: epoch, join_at (ISO).
if redis.call('HGET', KEYS[2], 'state') ~= 'scheduled' then return 0 end
redis.call('HSET', KEYS[2], 'join_at', ARGV[2])
return 1
