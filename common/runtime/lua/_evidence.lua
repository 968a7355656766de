-- The index of evidence holds the names of the bundles' keys by when they end, beside it stand their sizes and the total.
-- A bundle that is no more is struck off both.
local function strike_off(index, sizes, bundle)
  local size = redis.call('HGET', sizes, bundle)
  redis.call('ZREM', index, bundle)
  if size then
    redis.call('HDEL', sizes, bundle)
    redis.call('HINCRBY', sizes, 'total', -size)
  end
end
