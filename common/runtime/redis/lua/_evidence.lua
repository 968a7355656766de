-- The index of evidence has the names of the bundles' keys, by the time at which they expire. Two more keys have their sizes
-- and the total. This removes a bundle from all of them.
local function strike_off(index, sizes, bundle)
  local size = redis.call('HGET', sizes, bundle)
  redis.call('ZREM', index, bundle)
  if size then
    redis.call('HDEL', sizes, bundle)
    redis.call('HINCRBY', sizes, 'total', -size)
  end
end
