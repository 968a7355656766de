-- Note that a bot's meeting is being recorded, or that its file was made, which may be after the bot's end. Once each.
-- `audio_status`: the new value in its record.
local latest, before, state, status, reason, vm_id, worker_id, callback_url = unpack(redis.call('HMGET', bot, 'attempt',
  'audio_status', 'state', 'status', 'status_reason', 'vm_id', 'worker_id', 'callback_url'))
if tonumber(latest) ~= attempt or before == audio_status or (before and before ~= '' and before ~= 'recording') then return 0 end
redis.call('HSET', bot, 'audio_status', audio_status)
relate(story, entry)
if audio_status == 'processed' then
  local owner = redis.call('HGET', bot, 'owner')
  count_usage(usage, owner, 'recordings', 1)
  count_usage(usage, owner, 'audio_s', audio_s)
  count_usage(usage, owner, 'stored_bytes', stored_bytes)
end
if callback_url and callback_url ~= '' then
  redis.call('XADD', outbox, '*', 'bot_id', bot_id, 'state', state, 'status', status, 'reason', reason or '',
    'status_reason', reason or '', 'attempt', latest, 'vm_id', vm_id or '', 'worker_id', worker_id or '', 'at', at,
    'recorded', audio_status)
  redis.call('EXPIRE', outbox, STREAM_LIFE_S)
end
return 1
