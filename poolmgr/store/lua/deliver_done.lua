-- The first webhook of a bot's queue was delivered, and leaves it. Also removes an empty queue from the due ones.
-- `noted_as`: the record's field to set, or empty. Answers 1 if there is a next one.
if first_of(line, id) then
  redis.call('LPOP', line)
  log_attempt(log, entry, life_s)
  if noted_as ~= '' then note_received(bot, noted, keep, bot_id, noted_as) end
end
return move_up(line, due, line_id, now)
