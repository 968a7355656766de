-- A VM that was lost long ago. KEYS: epoch, vm, workers, commands, vms. ARGV: epoch, vm_id.
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4])
return redis.call('SREM', KEYS[5], ARGV[2])
