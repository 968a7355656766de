-- An attempt at the first webhook of a bot's line came to nothing; the next one is due later. Once per attempt.
-- KEYS: epoch, line, due, log. ARGV: epoch, bot_id, id, attempts by now, due (epoch seconds), life in s, log entry.
local head = first_of(KEYS[2], ARGV[3])
if not head then return 0 end
local attempts, since_and_delivery = string.match(head, '^(%d+)( .*)$')
if tonumber(attempts) >= tonumber(ARGV[4]) then return 0 end
redis.call('LSET', KEYS[2], 0, ARGV[4] .. since_and_delivery)
redis.call('EXPIRE', KEYS[2], ARGV[6])
redis.call('ZADD', KEYS[3], ARGV[5], ARGV[2])
redis.call('EXPIRE', KEYS[3], ARGV[6])
log_attempt(KEYS[4], ARGV[7], ARGV[6])
return 1
