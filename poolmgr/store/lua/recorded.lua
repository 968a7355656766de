-- Of a bot's meeting something is being made, or was, which may be after the bot's end. Once each. `field`: where its
-- record says how far that is, from now on `made`, before that nothing or `being_made`; `what`: what webhooks are of.
local latest, before, state, status, reason, vm_id, worker_id, callback_url = unpack(redis.call('HMGET', bot, 'attempt',
  field, 'state', 'status', 'status_reason', 'vm_id', 'worker_id', 'callback_url'))
if tonumber(latest) ~= attempt or before == made or (before and before ~= '' and before ~= being_made) then return 0 end
redis.call('HSET', bot, field, made)
relate(story, entry)
if what == 'recorded' and made == 'processed' then
  local owner = redis.call('HGET', bot, 'owner')
  count_usage(usage, owner, 'recordings', 1)
  count_usage(usage, owner, 'audio_s', audio_s)
  count_usage(usage, owner, 'stored_bytes', stored_bytes)
end
if callback_url and callback_url ~= '' then
  redis.call('XADD', outbox, '*', 'bot_id', bot_id, 'state', state, 'status', status, 'reason', reason or '',
    'status_reason', reason or '', 'attempt', latest, 'vm_id', vm_id or '', 'worker_id', worker_id or '', 'at', at,
    what, made)
  redis.call('EXPIRE', outbox, STREAM_LIFE_S)
end
return 1
