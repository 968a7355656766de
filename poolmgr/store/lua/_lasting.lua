-- Let a key live for `life_s` from now on, or a little less: its end is not put off again before a thirty-second of that is over.
-- Asking when it ends takes less than putting that off, which is also written to the append-only file.
local function last(key, life_s)
  if redis.call('TTL', key) < life_s * 31 / 32 then redis.call('EXPIRE', key, life_s) end
end
