-- A worker's new state (an empty record: forgotten) and what its agent is told of it.
-- KEYS: epoch, workers, commands, and the story of a bot that tells of it, if any. ARGV: epoch, worker_id, record, message
-- (or empty), life in s, entry of the story.
if ARGV[3] == '' then redis.call('HDEL', KEYS[2], ARGV[2]) else redis.call('HSET', KEYS[2], ARGV[2], ARGV[3]) end
redis.call('EXPIRE', KEYS[2], ARGV[5])
if ARGV[4] ~= '' then
  redis.call('XADD', KEYS[3], '*', 'm', ARGV[4])
  redis.call('EXPIRE', KEYS[3], ARGV[5])
end
if KEYS[4] and redis.call('EXISTS', KEYS[4]) == 1 then relate(KEYS[4], ARGV[6]) end
return 1
