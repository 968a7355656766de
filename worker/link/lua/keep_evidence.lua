-- A bundle is kept for as long as its bot's record is there, but not longer than its life; the oldest go when all of them
-- are more than may be kept.
-- Answers 1 if it is kept, 0 if its bot is no more, or it alone is more than may be kept.
if redis.call('EXISTS', bot) == 0 or #data > most_bytes then return 0 end
-- First of all, because a full Redis refuses it, and refuses nothing to a script that has written before.
redis.call('SET', bundle, data, 'EX', life_s)
local now = tonumber(redis.call('TIME')[1])
for _, ended in ipairs(redis.call('ZRANGE', index, '-inf', now, 'BYSCORE')) do strike_off(index, sizes, ended) end
strike_off(index, sizes, bundle)
local total = tonumber(redis.call('HGET', sizes, 'total') or '0')
while total + #data > most_bytes do
  local oldest = redis.call('ZRANGE', index, 0, 0)[1]
  if not oldest then break end
  redis.call('DEL', oldest)
  strike_off(index, sizes, oldest)
  total = tonumber(redis.call('HGET', sizes, 'total'))
end
redis.call('ZADD', index, now + life_s, bundle)
redis.call('HSET', sizes, bundle, #data)
redis.call('HINCRBY', sizes, 'total', #data)
-- Not before the bundle in it that ends last: one that waited long for its way here has less life left than others.
local last = tonumber(redis.call('ZRANGE', index, -1, -1, 'WITHSCORES')[2])
redis.call('EXPIREAT', index, last)
redis.call('EXPIREAT', sizes, last)
return 1
