-- A transcript was made of a bot's recording (`became` is `processed`), or is given up (`skipped`), with `why`. That of its job
-- (1) counts for its record: `transcript_status`, and `by` whom it is. `callback`: where else than to its callback_url that is told.
-- Answers 0 for a bot that is forgotten.
redis.call('ZREM', due, bot_id)
if redis.call('HEXISTS', transcriptions, number) == 0 or redis.call('HEXISTS', bot, 'state') == 0 then return 0 end
redis.call('HSET', transcriptions, number, asked)
if number == 1 then redis.call('HSET', bot, 'transcript_status', transcript_status, 'transcript_by', by) end
relate(story, entry)
local state, status, reason, attempt, vm_id, worker_id, callback_url = unpack(redis.call('HMGET', bot, 'state', 'status',
  'status_reason', 'attempt', 'vm_id', 'worker_id', 'callback_url'))
if callback ~= '' or (callback_url and callback_url ~= '') then
  redis.call('XADD', outbox, '*', 'bot_id', bot_id, 'state', state, 'status', status, 'reason', reason or '',
    'status_reason', reason or '', 'attempt', attempt, 'vm_id', vm_id or '', 'worker_id', worker_id or '', 'at', at,
    'transcribed', became, 'why', why, 'number', number, 'callback', callback)
  redis.call('EXPIRE', outbox, STREAM_LIFE_S)
end
return 1
