-- Put a job of the command line on the list, and record who pushed it.
redis.call('LPUSH', jobs, payload)
note_action(actions, action)
return 1
