-- Give the lease back at once, if it is still ours. KEYS: leader. ARGV: holder.
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
