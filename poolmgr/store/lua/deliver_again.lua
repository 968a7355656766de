-- Put a dead letter at the end of its bot's queue, once even if two operators do it at the same time. The leader learns of it
-- through the outbox.
if redis.call('XDEL', dead, entry_id) == 0 then return 0 end
redis.call('RPUSH', line, '0 ' .. now .. ' ' .. delivery)
redis.call('EXPIRE', line, life_s)
redis.call('ZADD', due, 'NX', now, line_id)
redis.call('EXPIRE', due, life_s)
redis.call('XADD', outbox, '*', 'bot_id', bot_id, 'again', entry_id, 'line', line_id)
redis.call('EXPIRE', outbox, STREAM_LIFE_S)
note_action(actions, action)
return 1
