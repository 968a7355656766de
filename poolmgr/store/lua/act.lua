-- Who did something that changes nothing else in Redis is written down before it is done.
note_action(actions, action)
return 1
