-- Put before every script that writes for the leader: KEYS[1] is the epoch, ARGV[1] the epoch of who writes.
-- A leader that was replaced finds out here, before it has changed anything.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return redis.error_reply('STALE_EPOCH another manager leads')
end

-- A stream that nobody writes to any more ends a week later.
local STREAM_LIFE_S = 604800

-- One entry of the status stream. `seen`: state, status, reason, attempt, vm_id, worker_id.
local function tell(status_key, keep, bot_id, at, seen)
  redis.call('XADD', status_key, 'MAXLEN', '~', keep, '*', 'bot_id', bot_id, 'state', seen[1] or '',
    'status', seen[2] or '', 'reason', seen[3] or '', 'attempt', seen[4] or '0', 'vm_id', seen[5] or '',
    'worker_id', seen[6] or '', 'at', at)
  redis.call('EXPIRE', status_key, STREAM_LIFE_S)
end

-- A status change becomes visible: the bot's hash and the status stream together.
local function announce(bot_key, status_key, keep, bot_id, at, fields)
  redis.call('HSET', bot_key, unpack(fields))
  tell(status_key, keep, bot_id, at,
    redis.call('HMGET', bot_key, 'state', 'status', 'status_reason', 'attempt', 'vm_id', 'worker_id'))
end

-- The values of a script's call from ARGV[first] on, after those that `values` holds already.
local function rest(first, values)
  values = values or {}
  for i = first, #ARGV do values[#values + 1] = ARGV[i] end
  return values
end

