-- Move a taken job that is not valid to the dead stream with its reason. Followers of its bot_id are told in the status
-- stream, unless the id belongs to another job's bot. The API's entry of the job is deleted.
-- `bot_id`: may be empty. `fields`: of the dead stream's entry.
redis.call('XADD', dead, 'MAXLEN', '~', keep_dead, '*', unpack(fields))
redis.call('EXPIRE', dead, STREAM_LIFE_S)
if bot_id ~= '' and redis.call('EXISTS', bot) == 0 then
  redis.call('XADD', status, 'MAXLEN', '~', keep, '*', 'bot_id', bot_id, 'state', REJECTED, 'status', ERROR,
    'reason', reason, 'status_reason', INVALID_REQUEST, 'attempt', '0', 'vm_id', '', 'worker_id', '', 'at', at,
    'detail', detail)
  redis.call('EXPIRE', status, STREAM_LIFE_S)
end
if bot_id ~= '' then redis.call('DEL', submitted) end
return redis.call('LREM', taken, -1, payload)
