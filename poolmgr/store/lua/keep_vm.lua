-- What is known of a VM. A lost one has an end, a live one has none.
-- KEYS: epoch, vm, workers, vms. ARGV: epoch, vm_id, life in s (0: no end), then field value pairs.
redis.call('HSET', KEYS[2], unpack(rest(4)))
redis.call('SADD', KEYS[4], ARGV[2])
if ARGV[3] == '0' then
  redis.call('PERSIST', KEYS[2])
else
  redis.call('EXPIRE', KEYS[2], ARGV[3])
  redis.call('DEL', KEYS[3])
end
return 1
