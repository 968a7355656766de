-- Delete the keys of a VM that was lost long ago.
redis.call('DEL', vm, workers, commands)
return redis.call('SREM', vms, vm_id)
