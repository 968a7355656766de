-- An attempt to send the first webhook of a bot's queue failed; it is due again later. Counts each attempt once.
local head = first_of(line, id)
if not head then return 0 end
local before, since_and_delivery = string.match(head, '^(%d+)( .*)$')
if tonumber(before) >= attempts then return 0 end
redis.call('LSET', line, 0, attempts .. since_and_delivery)
redis.call('EXPIRE', line, life_s)
redis.call('ZADD', due, next_at, line_id)
redis.call('EXPIRE', due, life_s)
log_attempt(log, entry, life_s)
return 1
