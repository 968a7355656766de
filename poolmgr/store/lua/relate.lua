-- Something that happened to a bot and is no change of its state: what its page shows now, or that an attempt failed.
-- KEYS: epoch, bot, story. ARGV: epoch, attempt, entry, evidence (or empty), then field value pairs.
local now = redis.call('HMGET', KEYS[2], 'state', 'attempt', 'evidence')
if not now[1] or now[1] == 'stopped' or now[2] ~= ARGV[2] then return 0 end
relate(KEYS[3], ARGV[3])
if ARGV[4] ~= '' then redis.call('HSET', KEYS[2], 'evidence', with_evidence(now[3], ARGV[4])) end
if ARGV[5] then redis.call('HSET', KEYS[2], unpack(rest(5))) end
return 1
