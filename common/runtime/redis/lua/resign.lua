-- Give back something that one process holds at a time (the lease, a vm_id, an account), if this process still holds it.
if redis.call('GET', name) == holder then return redis.call('DEL', name) end
return 0
