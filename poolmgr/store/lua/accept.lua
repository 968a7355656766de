-- A taken job becomes a durable bot; only now does it leave the list of taken jobs. Where a worker stands ready, the same
-- call assigns it: bot, worker and agent learn of it together, and the status stream still tells both steps.
-- KEYS: epoch, bot, taken, live, all, status, story; then, those of them that ARGV speaks of: workers, commands (orders),
-- dedup, outbox, owned and submitted, meeting; then the indexes.
-- ARGV: epoch, bot_id, raw payload, created (epoch seconds), at (ISO), state, status, status entries kept, bot_s,
-- life of indexes in s, '1' if the job has a deduplication_key, '1' if it has a callback, '1' if it has an owner,
-- '1' if it is to be the only bot in its meeting, how many orders (0: it is not assigned), entry of the story, then of an
-- assignment at (ISO), status, vm_id, life in s, entry of the story, and for each order worker_id, worker record, message,
-- the bot's own worker first; then those field value pairs of the record that differ from BLANK, which is put before this
-- script.
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
local bot_id, created, keep, index_life_s, orders = ARGV[2], ARGV[4], ARGV[8], ARGV[10], tonumber(ARGV[15])
local next_key = 8
local function key_if(there)
  if not there then return nil end
  next_key = next_key + 1
  return KEYS[next_key - 1]
end
local workers, commands = key_if(orders > 0), key_if(orders > 0)
local dedup, outbox = key_if(ARGV[11] == '1'), key_if(ARGV[12] == '1')
local owned, submitted = key_if(ARGV[13] == '1'), key_if(ARGV[13] == '1')
local meeting = key_if(ARGV[14] == '1')
local first = orders > 0 and 22 or 17
local fields = first + 3 * orders
redis.call('HSET', KEYS[2], unpack(rest(fields, BLANK)))
tell(KEYS[6], outbox, keep, bot_id, ARGV[5], {ARGV[6], ARGV[7]})
redis.call('RPUSH', KEYS[7], ARGV[16])
if orders > 0 then redis.call('RPUSH', KEYS[7], ARGV[21]) end
redis.call('EXPIRE', KEYS[7], index_life_s)
redis.call('ZADD', KEYS[4], created, bot_id)
redis.call('ZADD', KEYS[5], created, bot_id)
redis.call('EXPIRE', KEYS[5], index_life_s)
for i = next_key, #KEYS do
  redis.call('ZADD', KEYS[i], created, bot_id)
  redis.call('EXPIRE', KEYS[i], index_life_s)
end
if dedup then redis.call('SET', dedup, bot_id, 'EX', ARGV[9]) end
if meeting then
  redis.call('DEL', meeting)
  redis.call('HSET', meeting, 'bot_id', bot_id, 'bot', KEYS[2])
  redis.call('EXPIRE', meeting, index_life_s)
end
if owned then
  redis.call('SADD', owned, bot_id)
  redis.call('EXPIRE', owned, index_life_s)
  redis.call('DEL', submitted)
end
redis.call('LREM', KEYS[3], -1, ARGV[3])
if orders > 0 then
  tell(KEYS[6], outbox, keep, bot_id, ARGV[17], {'assigned', ARGV[18], '', '1', ARGV[19], ARGV[first]})
  for i = first, fields - 3, 3 do
    redis.call('HSET', workers, ARGV[i], ARGV[i + 1])
    redis.call('XADD', commands, '*', 'm', ARGV[i + 2])
  end
  redis.call('EXPIRE', workers, ARGV[20])
  redis.call('EXPIRE', commands, ARGV[20])
end
return 1
