-- Make a request to the leader durable, and record who made it.
redis.call('XADD', control, 'MAXLEN', '~', CONTROL_KEPT, '*', unpack(fields))
note_action(actions, action)
return 1
