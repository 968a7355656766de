-- A bot's one end: record, indexes and time to live together. A second end changes nothing.
-- KEYS: epoch, bot, status, live, ended. ARGV: epoch, bot_id, at (ISO), status entries kept, stopped (epoch seconds),
-- bot_s, then field value pairs.
local state = redis.call('HGET', KEYS[2], 'state')
if not state or state == 'stopped' then return 0 end
announce(KEYS[2], KEYS[3], ARGV[4], ARGV[2], ARGV[3], rest(7))
redis.call('EXPIRE', KEYS[2], ARGV[6])
redis.call('ZREM', KEYS[4], ARGV[2])
redis.call('ZADD', KEYS[5], ARGV[5], ARGV[2])
redis.call('EXPIRE', KEYS[5], ARGV[6])
return 1
