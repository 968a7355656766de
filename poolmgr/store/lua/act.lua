-- Record who is about to do something that changes nothing else in Redis.
note_action(actions, action)
return 1
