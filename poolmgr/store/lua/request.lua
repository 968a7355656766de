-- What somebody asks of the leader is durable, and who did.
redis.call('XADD', control, 'MAXLEN', '~', CONTROL_KEPT, '*', unpack(fields))
note_action(actions, action)
return 1
