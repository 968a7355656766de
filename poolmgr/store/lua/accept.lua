-- A taken job becomes a durable bot; only now does it leave the list of taken jobs.
-- KEYS: epoch, bot, taken, live, status, dedup. ARGV: epoch, bot_id, raw payload, created (epoch seconds), at (ISO),
-- status entries kept, bot_s, dedup ('1' if the job has a key), then field value pairs.
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
announce(KEYS[2], KEYS[5], ARGV[6], ARGV[2], ARGV[5], rest(9))
redis.call('ZADD', KEYS[4], ARGV[4], ARGV[2])
if ARGV[8] == '1' then redis.call('SET', KEYS[6], ARGV[2], 'EX', ARGV[7]) end
redis.call('LREM', KEYS[3], -1, ARGV[3])
return 1
