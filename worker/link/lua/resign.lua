-- Give a name back, if it is still ours: a vm_id, an account. KEYS: the name. ARGV: its holder.
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
