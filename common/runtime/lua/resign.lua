-- Give back what one may have at a time, if it is still ours: the lease, a vm_id, an account.
if redis.call('GET', name) == holder then return redis.call('DEL', name) end
return 0
