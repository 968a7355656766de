-- Put the webhooks of one outbox entry into their bot's queue, and delete the entry. Does nothing if that was done before.
redis.call('XACK', outbox, group, entry_id)
if redis.call('XDEL', outbox, entry_id) == 0 then return 0 end
if #items == 0 then return 1 end
redis.call('RPUSH', line, unpack(items))
redis.call('EXPIRE', line, life_s)
redis.call('ZADD', due, 'NX', now, line_id)
redis.call('EXPIRE', due, life_s)
return 1
