-- Taken jobs become durable bots, all of them or none, and leave the list of taken jobs. If a worker is idle, the same script
-- assigns the bot: bot, worker and agent learn of it together, and the status stream has both steps.
-- `bots`: each as MessagePack, with the places of its keys in `own` (leader/acceptance.py says what is in it).
local new, seen, records = {}, {}, {}
for i, packed in ipairs(bots) do
  new[i] = cmsgpack.unpack(packed)
  local place = new[i].bot
  if seen[place] then return 0 end
  seen[place], records[i] = true, own[place]
end
if redis.call('EXISTS', unpack(records)) > 0 then return 0 end
local created, indexes, indexed = {}, {}, {}
local function add(members, one) members[#members + 1], members[#members + 2] = one.created, one.bot_id end
for _, one in ipairs(new) do
  local bot, story, bot_id, given = own[one.bot], own[one.story], one.bot_id, one.given
  local called = one.is_called and outbox
  redis.call('HSET', bot, 'bot_id', bot_id, 'created_at', one.at, 'payload', one.payload, unpack(one.fields))
  tell(status, called, keep, bot_id, one.at, {one.state, one.status, '', '0', '', '', '', '', one.traceparent})
  redis.call('RPUSH', story, unpack(one.entries))
  redis.call('EXPIRE', story, INDEX_LIFE_S)
  add(created, one)
  for _, place in ipairs(one.indexes) do
    if not indexed[place] then indexes[#indexes + 1], indexed[place] = place, {} end
    add(indexed[place], one)
  end
  if one.dedup then redis.call('SET', own[one.dedup], bot_id, 'EX', dedup_life_s) end
  if one.meeting then
    local meeting = own[one.meeting]
    redis.call('DEL', meeting)
    redis.call('HSET', meeting, 'bot_id', bot_id, 'bot', bot)
    redis.call('EXPIRE', meeting, INDEX_LIFE_S)
  end
  if one.owned then
    local owned = own[one.owned]
    redis.call('SADD', owned, bot_id)
    last(owned, INDEX_LIFE_S)
    redis.call('DEL', own[one.submitted])
  end
  redis.call('LREM', taken, -1, one.payload)
  if given then
    local workers, commands = own[given.workers], own[given.commands]
    tell(status, called, keep, bot_id, given.at, {ASSIGNED, given.status, '', '1', given.vm_id, given.worker_id, '', '', one.traceparent})
    local added = redis.call('HSET', workers, unpack(given.records))
    for _, order in ipairs(given.orders) do redis.call('XADD', commands, '*', 'm', order) end
    -- If all of them are added, the key may be new. If not, it has an end, which the leader puts off once a minute.
    if added * 2 == #given.records then redis.call('EXPIRE', workers, VM_LIFE_S) end
    last(commands, VM_LIFE_S)
  end
end
last(status, STREAM_LIFE_S)
redis.call('ZADD', live, unpack(created))
redis.call('ZADD', all_bots, unpack(created))
last(all_bots, INDEX_LIFE_S)
for _, place in ipairs(indexes) do
  redis.call('ZADD', own[place], unpack(indexed[place]))
  last(own[place], INDEX_LIFE_S)
end
return 1
