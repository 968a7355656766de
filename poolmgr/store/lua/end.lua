-- A bot's one end: record, indexes and time to live together. A second end changes nothing.
-- KEYS: epoch, bot, status, outbox, live, ended, the index of its outward status, story; owned, if it has an owner.
-- ARGV: epoch, bot_id, at (ISO), status entries kept, stopped (epoch seconds), life of the record in s, life of indexes
-- in s, entry of the story, the name of its evidence (or empty), then field value pairs.
local state = redis.call('HGET', KEYS[2], 'state')
if not state or state == 'stopped' then return 0 end
local bot_id, created = ARGV[2], redis.call('ZSCORE', KEYS[5], ARGV[2]) or ARGV[5]
announce(KEYS[2], KEYS[3], KEYS[4], ARGV[4], bot_id, ARGV[3], rest(10))
relate(KEYS[8], ARGV[8])
if ARGV[9] ~= '' then
  redis.call('HSET', KEYS[2], 'evidence', with_evidence(redis.call('HGET', KEYS[2], 'evidence'), ARGV[9]))
end
redis.call('EXPIRE', KEYS[2], ARGV[6])
redis.call('EXPIRE', KEYS[8], ARGV[6])
redis.call('ZREM', KEYS[5], bot_id)
redis.call('ZADD', KEYS[6], ARGV[5], bot_id)
redis.call('ZADD', KEYS[7], created, bot_id)
redis.call('EXPIRE', KEYS[6], ARGV[7])
redis.call('EXPIRE', KEYS[7], ARGV[7])
if KEYS[9] then redis.call('SREM', KEYS[9], bot_id) end
return 1
