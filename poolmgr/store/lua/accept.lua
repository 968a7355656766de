-- A taken job becomes a durable bot, and leaves the list of taken jobs. If a worker is idle, the same script assigns it: bot,
-- worker and agent learn of it together, and the status stream has both steps.
-- `orders`: worker_id, record and message of each worker, the bot's own first; empty if the bot is not assigned.
-- `fields`: the fields of the record that differ from BLANK.
if redis.call('EXISTS', bot) == 1 then return 0 end
local record = BLANK
for i = 1, #fields do record[#record + 1] = fields[i] end
redis.call('HSET', bot, unpack(record))
tell(status, outbox, keep, bot_id, at, {state, status_word, '', '0', '', '', '', '', traceparent})
redis.call('RPUSH', story, entry)
if workers then redis.call('RPUSH', story, assigned_entry) end
redis.call('EXPIRE', story, INDEX_LIFE_S)
redis.call('ZADD', live, created, bot_id)
redis.call('ZADD', all_bots, created, bot_id)
redis.call('EXPIRE', all_bots, INDEX_LIFE_S)
for _, index in ipairs(indexes) do
  redis.call('ZADD', index, created, bot_id)
  redis.call('EXPIRE', index, INDEX_LIFE_S)
end
if dedup then redis.call('SET', dedup, bot_id, 'EX', dedup_life_s) end
if meeting then
  redis.call('DEL', meeting)
  redis.call('HSET', meeting, 'bot_id', bot_id, 'bot', bot)
  redis.call('EXPIRE', meeting, INDEX_LIFE_S)
end
if owned then
  redis.call('SADD', owned, bot_id)
  redis.call('EXPIRE', owned, INDEX_LIFE_S)
  redis.call('DEL', submitted)
end
redis.call('LREM', taken, -1, payload)
if workers then
  tell(status, outbox, keep, bot_id, assigned_at, {ASSIGNED, assigned_status_word, '', '1', vm_id, orders[1], '', '', traceparent})
  for i = 1, #orders, 3 do
    redis.call('HSET', workers, orders[i], orders[i + 1])
    redis.call('XADD', commands, '*', 'm', orders[i + 2])
  end
  redis.call('EXPIRE', workers, VM_LIFE_S)
  redis.call('EXPIRE', commands, VM_LIFE_S)
end
return 1
