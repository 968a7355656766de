-- A bot's new state, unless it has ended or another attempt counts by now.
-- KEYS: epoch, bot, status, outbox, story. ARGV: epoch, bot_id, attempt, at (ISO), status entries kept, entry of the story,
-- then field value pairs.
local now = redis.call('HMGET', KEYS[2], 'state', 'attempt')
if not now[1] or now[1] == 'stopped' or now[2] ~= ARGV[3] then return 0 end
announce(KEYS[2], KEYS[3], KEYS[4], ARGV[5], ARGV[2], ARGV[4], rest(7))
relate(KEYS[5], ARGV[6])
return 1
