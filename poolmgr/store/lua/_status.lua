-- Add an entry to the status stream. With an outbox also add it there: webhooks are made from it. Only the leader
-- shortens the outbox; its entry names the other one as `sequence`. The caller says how long the status stream lives. `seen`: state, status, reason, attempt, vm_id, worker_id, callback_url, manifest_status,
-- traceparent, done.
local function tell(status, outbox, keep, bot_id, at, seen)
  local entry = {'bot_id', bot_id, 'state', seen[1] or '', 'status', seen[2] or '', 'reason', seen[3] or '',
    'status_reason', seen[3] or '', 'attempt', seen[4] or '0', 'vm_id', seen[5] or '', 'worker_id', seen[6] or '', 'at', at}
  if seen[9] and seen[9] ~= '' then
    entry[#entry + 1], entry[#entry + 2] = 'traceparent', seen[9]
  end
  local sequence = redis.call('XADD', status, 'MAXLEN', '~', keep, '*', unpack(entry))
  if outbox then
    if seen[8] and seen[8] ~= '' then
      entry[#entry + 1], entry[#entry + 2] = 'manifest', seen[8]
    end
    if seen[10] then
      entry[#entry + 1], entry[#entry + 2] = 'done', seen[10]
    end
    entry[#entry + 1], entry[#entry + 2] = 'sequence', sequence
    redis.call('XADD', outbox, '*', unpack(entry))
    redis.call('EXPIRE', outbox, STREAM_LIFE_S)
  end
end

-- Write a status change into the bot's record and the status stream, and into the outbox if the bot has a callback_url.
-- `done`: of an end, '1' if with it all is done for the bot, or empty.
local function announce(bot, status, outbox, keep, bot_id, at, fields, done)
  redis.call('HSET', bot, unpack(fields))
  local seen = redis.call('HMGET', bot, 'state', 'status', 'status_reason', 'attempt', 'vm_id', 'worker_id', 'callback_url',
    'manifest_status', 'traceparent')
  seen[10] = done
  local called = seen[7] and seen[7] ~= ''
  tell(status, called and outbox, keep, bot_id, at, seen)
  redis.call('EXPIRE', status, STREAM_LIFE_S)
end
