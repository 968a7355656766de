-- A bot's meeting is being recorded, or a file was made of it, which may be after the bot's end. Once each.
-- KEYS: epoch, bot, outbox, story. ARGV: epoch, bot_id, attempt, at (ISO), what its record says from now on, entry of the
-- story.
local now = redis.call('HMGET', KEYS[2], 'attempt', 'audio_status', 'state', 'status', 'status_reason', 'vm_id',
  'worker_id', 'callback_url')
if now[1] ~= ARGV[3] or now[2] == ARGV[5] or (now[2] and now[2] ~= '' and now[2] ~= 'recording') then return 0 end
redis.call('HSET', KEYS[2], 'audio_status', ARGV[5])
relate(KEYS[4], ARGV[6])
if now[8] and now[8] ~= '' then
  redis.call('XADD', KEYS[3], '*', 'bot_id', ARGV[2], 'state', now[3], 'status', now[4], 'reason', now[5] or '',
    'status_reason', now[5] or '', 'attempt', now[1], 'vm_id', now[6] or '', 'worker_id', now[7] or '', 'at', ARGV[4],
    'recorded', ARGV[5])
  redis.call('EXPIRE', KEYS[3], STREAM_LIFE_S)
end
return 1
