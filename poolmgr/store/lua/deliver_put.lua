-- The webhooks of one outbox entry stand in their bot's line, and the entry is done; nothing if it was done before.
-- KEYS: epoch, outbox, line, due. ARGV: epoch, group, entry id, bot_id, now (epoch seconds), life in s, then the items.
redis.call('XACK', KEYS[2], ARGV[2], ARGV[3])
if redis.call('XDEL', KEYS[2], ARGV[3]) == 0 then return 0 end
if #ARGV < 7 then return 1 end
redis.call('RPUSH', KEYS[3], unpack(rest(7)))
redis.call('EXPIRE', KEYS[3], ARGV[6])
redis.call('ZADD', KEYS[4], 'NX', ARGV[5], ARGV[4])
redis.call('EXPIRE', KEYS[4], ARGV[6])
return 1
