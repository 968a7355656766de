-- Write the state of a VM. Its keys expire unless the leader extends them, which it does for VMs that are not lost. The
-- workers of a lost VM are removed, and its agent must not begin their orders later. `action`: that the leader itself takes it
-- out of service, if it does so now.
redis.call('HSET', vm, unpack(fields))
redis.call('SADD', vms, vm_id)
redis.call('EXPIRE', vm, life_s)
redis.call('EXPIRE', vms, life_s)
if is_lost then redis.call('DEL', workers, commands) end
note_action(actions, action)
return 1
