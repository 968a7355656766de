-- A job of the command line goes on the list, and who pushed it is known.
redis.call('LPUSH', jobs, payload)
note_action(actions, action)
return 1
