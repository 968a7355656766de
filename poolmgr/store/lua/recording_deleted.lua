-- What the store had of a bot was deleted. Its record, if it still exists, says once that its time was over. `until_at`: until
-- when the store keeps the mark that it was deleted; 0: that is gone, too.
if tonumber(until_at) > 0 then
  redis.call('ZADD', expiring, until_at, bot_id)
  redis.call('EXPIRE', expiring, RETENTION_LIFE_S)
else
  redis.call('ZREM', expiring, bot_id)
end
local state, before = unpack(redis.call('HMGET', bot, 'state', 'manifest_status'))
if not state or before == 'expired' then return 0 end
redis.call('HSET', bot, 'manifest_status', 'expired', 'expired_at', at)
relate(story, entry)
return 1
