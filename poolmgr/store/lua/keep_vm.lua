-- What is known of a VM. All of it ends, unless the leader renews it, which it does for those that are not lost.
-- A lost one's workers count no longer, and its agent is not to begin later what was ordered for them.
redis.call('HSET', vm, unpack(fields))
redis.call('SADD', vms, vm_id)
redis.call('EXPIRE', vm, life_s)
redis.call('EXPIRE', vms, life_s)
if is_lost then redis.call('DEL', workers, commands) end
return 1
