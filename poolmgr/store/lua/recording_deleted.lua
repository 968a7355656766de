-- A bot's recording is no more, because its time was over. Its record, if there still is one, says so.
redis.call('ZREM', expiring, bot_id)
if redis.call('HEXISTS', bot, 'state') == 0 then return 0 end
redis.call('HSET', bot, 'manifest_status', 'expired')
relate(story, entry)
return 1
