-- A dead letter stands at the end of its bot's line once more: two operators at once do it once. The leader hears of it
-- through the outbox.
if redis.call('XDEL', dead, entry_id) == 0 then return 0 end
redis.call('RPUSH', line, '0 ' .. now .. ' ' .. delivery)
redis.call('EXPIRE', line, life_s)
redis.call('ZADD', due, 'NX', now, bot_id)
redis.call('EXPIRE', due, life_s)
redis.call('XADD', outbox, '*', 'bot_id', bot_id, 'again', entry_id)
redis.call('EXPIRE', outbox, STREAM_LIFE_S)
return 1
