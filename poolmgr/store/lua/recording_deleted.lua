-- A bot's recording was deleted because its retention was over. Its record, if it still exists, says so.
redis.call('ZREM', expiring, bot_id)
if redis.call('HEXISTS', bot, 'state') == 0 then return 0 end
redis.call('HSET', bot, 'manifest_status', 'expired')
relate(story, entry)
return 1
