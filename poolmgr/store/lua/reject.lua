-- A taken job that is no job goes to the dead stream with its reason; whoever follows its bot_id hears of it,
-- unless that id is another job's bot.
-- What the API says of a job that is no bot yet ends here, too.
-- KEYS: epoch, taken, dead, status, bot, submitted. ARGV: epoch, raw payload, entries kept, bot_id (or empty), at (ISO),
-- status entries kept, reason, detail, then field value pairs.
redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[3], '*', unpack(rest(9)))
redis.call('EXPIRE', KEYS[3], STREAM_LIFE_S)
if ARGV[4] ~= '' and redis.call('EXISTS', KEYS[5]) == 0 then
  redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[6], '*', 'bot_id', ARGV[4], 'state', 'rejected', 'status', 'Error',
    'reason', ARGV[7], 'status_reason', 'invalid_request', 'attempt', '0', 'vm_id', '', 'worker_id', '', 'at', ARGV[5],
    'detail', ARGV[8])
  redis.call('EXPIRE', KEYS[4], STREAM_LIFE_S)
end
if ARGV[4] ~= '' then redis.call('DEL', KEYS[6]) end
return redis.call('LREM', KEYS[2], -1, ARGV[2])
