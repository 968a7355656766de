-- A taken job becomes a durable bot; only now does it leave the list of taken jobs. Where a worker stands ready, the same
-- call assigns it: bot, worker and agent learn of it together, and the status stream still tells both steps.
-- KEYS: epoch, bot, taken, live, status; for an assignment: workers, commands; last, if the job has a key: dedup.
-- ARGV: epoch, bot_id, raw payload, created (epoch seconds), at (ISO), state, status, status entries kept, bot_s,
-- dedup ('1' if the job has a key), how many orders (0: it is not assigned), then of an assignment at (ISO), status,
-- vm_id, life in s, and for each order worker_id, worker record, message, the bot's own worker first; then those field
-- value pairs of the record that differ from BLANK, which is put before this script.
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
local bot_id, keep, orders = ARGV[2], ARGV[8], tonumber(ARGV[11])
local first = orders > 0 and 16 or 12
local fields = first + 3 * orders
redis.call('HSET', KEYS[2], unpack(rest(fields, BLANK)))
tell(KEYS[5], keep, bot_id, ARGV[5], {ARGV[6], ARGV[7]})
redis.call('ZADD', KEYS[4], ARGV[4], bot_id)
if ARGV[10] == '1' then redis.call('SET', KEYS[#KEYS], bot_id, 'EX', ARGV[9]) end
redis.call('LREM', KEYS[3], -1, ARGV[3])
if orders > 0 then
  tell(KEYS[5], keep, bot_id, ARGV[12], {'assigned', ARGV[13], '', '1', ARGV[14], ARGV[first]})
  for i = first, fields - 3, 3 do
    redis.call('HSET', KEYS[6], ARGV[i], ARGV[i + 1])
    redis.call('XADD', KEYS[7], '*', 'm', ARGV[i + 2])
  end
  redis.call('EXPIRE', KEYS[6], ARGV[15])
  redis.call('EXPIRE', KEYS[7], ARGV[15])
end
return 1
