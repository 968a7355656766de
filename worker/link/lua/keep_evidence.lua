-- Keep a bundle as long as its bot's record, and not longer than its own life. If all bundles together are too large, the
-- oldest are deleted.
-- Answers 1: kept; 0: the bot has no record, or the bundle alone is too large.
if redis.call('EXISTS', bot) == 0 or #data > most_bytes then return 0 end
-- This write comes first: a full Redis refuses it, and would not refuse it to a script that has written already.
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
-- The index lives as long as its longest bundle: a bundle that waited on a VM has less life left than others.
local last = tonumber(redis.call('ZRANGE', index, -1, -1, 'WITHSCORES')[2])
redis.call('EXPIREAT', index, last)
redis.call('EXPIREAT', sizes, last)
return 1
