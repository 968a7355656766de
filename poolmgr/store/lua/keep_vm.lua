-- What is known of a VM. All of it ends, unless the leader renews it, which it does for those that are not lost.
-- A lost one's workers count no longer, and its agent is not to begin later what was ordered for them.
-- KEYS: epoch, vm, workers, vms, commands. ARGV: epoch, vm_id, life in s, '1' if it is lost, then field value pairs.
redis.call('HSET', KEYS[2], unpack(rest(5)))
redis.call('SADD', KEYS[4], ARGV[2])
redis.call('EXPIRE', KEYS[2], ARGV[3])
redis.call('EXPIRE', KEYS[4], ARGV[3])
if ARGV[4] == '1' then redis.call('DEL', KEYS[3], KEYS[5]) end
return 1
