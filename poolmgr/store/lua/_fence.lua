-- Put before every script that writes for the leader: KEYS[1] is the epoch, ARGV[1] the epoch of who writes.
-- A leader that was replaced finds out here, before it has changed anything.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return redis.error_reply('STALE_EPOCH another manager leads')
end

-- A stream that nobody writes to any more ends a week later.
local STREAM_LIFE_S = 604800

-- One entry of the status stream; with an outbox, the same there, of which webhooks are made. No other limit keeps that
-- one short than that the leader empties it. `seen`: state, status, reason, attempt, vm_id, worker_id.
local function tell(status_key, outbox_key, keep, bot_id, at, seen)
  local entry = {'bot_id', bot_id, 'state', seen[1] or '', 'status', seen[2] or '', 'reason', seen[3] or '',
    'status_reason', seen[3] or '', 'attempt', seen[4] or '0', 'vm_id', seen[5] or '', 'worker_id', seen[6] or '', 'at', at}
  redis.call('XADD', status_key, 'MAXLEN', '~', keep, '*', unpack(entry))
  redis.call('EXPIRE', status_key, STREAM_LIFE_S)
  if outbox_key then
    redis.call('XADD', outbox_key, '*', unpack(entry))
    redis.call('EXPIRE', outbox_key, STREAM_LIFE_S)
  end
end

-- A status change becomes visible: the bot's hash and the status stream together, and the outbox if it has a callback.
local function announce(bot_key, status_key, outbox_key, keep, bot_id, at, fields)
  redis.call('HSET', bot_key, unpack(fields))
  local seen = redis.call('HMGET', bot_key, 'state', 'status', 'status_reason', 'attempt', 'vm_id', 'worker_id',
    'callback_url')
  local called = seen[7] and seen[7] ~= ''
  tell(status_key, called and outbox_key, keep, bot_id, at, seen)
end

-- The values of a script's call from ARGV[first] on, after those that `values` holds already.
local function rest(first, values)
  values = values or {}
  for i = first, #ARGV do values[#values + 1] = ARGV[i] end
  return values
end

