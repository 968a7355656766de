-- The first webhook of a bot's line is given up: it becomes a dead letter, and the next one's turn has come.
-- KEYS: epoch, line, due, log, dead. ARGV: epoch, bot_id, id, now (epoch seconds), life in s, log entry, dead letters
-- kept, then field value pairs of the letter. Answers 1 if there is a next one.
local head = first_of(KEYS[2], ARGV[3])
if head then
  redis.call('LPOP', KEYS[2])
  redis.call('XADD', KEYS[5], 'MAXLEN', '~', ARGV[7], '*', 'delivery', string.match(head, '^%d+ %S+ (.*)$'),
    unpack(rest(8)))
  redis.call('EXPIRE', KEYS[5], STREAM_LIFE_S)
  log_attempt(KEYS[4], ARGV[6], ARGV[5])
end
return move_up(KEYS[2], KEYS[3], ARGV[2], ARGV[4])
