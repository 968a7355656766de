-- The first webhook of a bot's queue is given up: it becomes a dead letter, and the next one is due.
-- Answers 1 if there is a next one.
local head = first_of(line, id)
if head then
  redis.call('LPOP', line)
  redis.call('XADD', dead, 'MAXLEN', '~', keep_dead, '*', 'delivery', string.match(head, '^%d+ %S+ (.*)$'), unpack(letter))
  redis.call('EXPIRE', dead, STREAM_LIFE_S)
  log_attempt(log, entry, life_s)
end
return move_up(line, due, line_id, now)
