-- A dead letter stands at the end of its bot's line once more: two operators at once do it once. The leader hears of it
-- through the outbox.
-- KEYS: dead, line, due, outbox. ARGV: entry id, bot_id, delivery, now (epoch seconds), life in s, life of the outbox in s.
if redis.call('XDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('RPUSH', KEYS[2], '0 ' .. ARGV[4] .. ' ' .. ARGV[3])
redis.call('EXPIRE', KEYS[2], ARGV[5])
redis.call('ZADD', KEYS[3], 'NX', ARGV[4], ARGV[2])
redis.call('EXPIRE', KEYS[3], ARGV[5])
redis.call('XADD', KEYS[4], '*', 'bot_id', ARGV[2], 'again', ARGV[1])
redis.call('EXPIRE', KEYS[4], ARGV[6])
return 1
