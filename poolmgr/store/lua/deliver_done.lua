-- The first webhook of a bot's line was delivered, and leaves it. Also clears up after a line that is no more.
-- KEYS: epoch, line, due, log, bot. ARGV: epoch, bot_id, id, now (epoch seconds), life in s, log entry, the record's
-- field that says so (or empty). Answers 1 if there is a next one.
if first_of(KEYS[2], ARGV[3]) then
  redis.call('LPOP', KEYS[2])
  log_attempt(KEYS[4], ARGV[6], ARGV[5])
  if ARGV[7] ~= '' and redis.call('EXISTS', KEYS[5]) == 1 then redis.call('HSET', KEYS[5], ARGV[7], 1) end
end
return move_up(KEYS[2], KEYS[3], ARGV[2], ARGV[4])
