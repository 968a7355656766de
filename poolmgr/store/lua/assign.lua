-- Bot assigned, worker claimed and the agent told, or nothing of it.
-- KEYS: epoch, bot, workers, commands, status, outbox, story. ARGV: epoch, bot_id, attempt, worker_id, worker record,
-- message, at (ISO), status entries kept, life in s, entry of the story, then field value pairs.
local now = redis.call('HMGET', KEYS[2], 'state', 'attempt')
if now[1] ~= 'queued' or tonumber(now[2]) ~= tonumber(ARGV[3]) - 1 then return 0 end
announce(KEYS[2], KEYS[5], KEYS[6], ARGV[8], ARGV[2], ARGV[7], rest(11))
relate(KEYS[7], ARGV[10])
redis.call('HSET', KEYS[3], ARGV[4], ARGV[5])
redis.call('XADD', KEYS[4], '*', 'm', ARGV[6])
redis.call('EXPIRE', KEYS[3], ARGV[9])
redis.call('EXPIRE', KEYS[4], ARGV[9])
return 1
