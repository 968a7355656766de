-- What is said in a bot's meeting is being written down, or a transcript was made of it, or there is none; the last two
-- mostly after the bot's end. Each once.
local latest, before, state, status, reason, vm_id, worker_id, callback_url = unpack(redis.call('HMGET', bot, 'attempt',
  'transcript_status', 'state', 'status', 'status_reason', 'vm_id', 'worker_id', 'callback_url'))
before = before or ''
if tonumber(latest) ~= attempt or before == transcript_status or (before ~= '' and before ~= 'processing') then return 0 end
redis.call('HSET', bot, 'transcript_status', transcript_status)
relate(story, entry)
if callback_url and callback_url ~= '' then
  redis.call('XADD', outbox, '*', 'bot_id', bot_id, 'state', state, 'status', status, 'reason', reason or '',
    'status_reason', reason or '', 'attempt', latest, 'vm_id', vm_id or '', 'worker_id', worker_id or '', 'at', at,
    'transcribed', transcript_status)
  redis.call('EXPIRE', outbox, STREAM_LIFE_S)
end
return 1
