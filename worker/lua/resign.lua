-- Give the vm_id back, if it is still ours. KEYS: alive. ARGV: presence.
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
