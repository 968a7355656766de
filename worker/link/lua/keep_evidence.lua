-- A bundle is kept for as long as its bot's record is there, but not longer than `life`; the oldest go when all of them
-- are more than may be kept. Members of the index are the names of the keys themselves.
-- KEYS: bot, bundle, index, sizes. ARGV: bundle, life in s, most bytes.
-- Answers 1 if it is kept, 0 if its bot is no more, or it alone is more than may be kept.
local bundle, life, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
if redis.call('EXISTS', KEYS[1]) == 0 or #bundle > most then return 0 end
-- First of all, because a full Redis refuses it, and refuses nothing to a script that has written before.
redis.call('SET', KEYS[2], bundle, 'EX', life)
local now = tonumber(redis.call('TIME')[1])

local function forget(name)
  local size = redis.call('HGET', KEYS[4], name)
  redis.call('ZREM', KEYS[3], name)
  if size then
    redis.call('HDEL', KEYS[4], name)
    redis.call('HINCRBY', KEYS[4], 'total', -size)
  end
end

for _, name in ipairs(redis.call('ZRANGE', KEYS[3], '-inf', now, 'BYSCORE')) do forget(name) end
forget(KEYS[2])
local total = tonumber(redis.call('HGET', KEYS[4], 'total') or '0')
while total + #bundle > most do
  local oldest = redis.call('ZRANGE', KEYS[3], 0, 0)[1]
  if not oldest then break end
  redis.call('DEL', oldest)
  forget(oldest)
  total = tonumber(redis.call('HGET', KEYS[4], 'total'))
end
redis.call('ZADD', KEYS[3], now + life, KEYS[2])
redis.call('HSET', KEYS[4], KEYS[2], #bundle)
redis.call('HINCRBY', KEYS[4], 'total', #bundle)
-- Not before the bundle in it that ends last: one that waited long for its way here has less life left than others.
local last = tonumber(redis.call('ZRANGE', KEYS[3], -1, -1, 'WITHSCORES')[2])
redis.call('EXPIREAT', KEYS[3], last)
redis.call('EXPIREAT', KEYS[4], last)
return 1
