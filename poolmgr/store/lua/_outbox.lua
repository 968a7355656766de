-- Have webhooks made of something that happened to a bot and is no change of its status. `more`: fields that say what.
local function notify(outbox, bot, bot_id, attempt, at, more)
  local state, status, reason, vm_id, worker_id = unpack(redis.call('HMGET', bot, 'state', 'status', 'status_reason',
    'vm_id', 'worker_id'))
  redis.call('XADD', outbox, '*', 'bot_id', bot_id, 'state', state, 'status', status, 'reason', reason or '',
    'status_reason', reason or '', 'attempt', attempt, 'vm_id', vm_id or '', 'worker_id', worker_id or '', 'at', at,
    unpack(more))
  redis.call('EXPIRE', outbox, STREAM_LIFE_S)
end

-- The same, if the bot has a callback_url.
local function call_back(outbox, bot, bot_id, attempt, at, more)
  if (redis.call('HGET', bot, 'callback_url') or '') ~= '' then
    notify(outbox, bot, bot_id, attempt, at, more)
  end
end
