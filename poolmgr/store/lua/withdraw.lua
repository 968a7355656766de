-- Take a submitted job back: off the list if no manager has taken it, and its keys are free for the next try.
-- `has_ended`: its bot ended without having a worker; then only the keys are freed.
-- Answers 1 if nothing comes of the job any more; 0 if a manager has taken it.
if not has_ended then
  if redis.call('LREM', jobs, 1, payload) == 0 then return 0 end
  redis.call('DEL', submitted)
  redis.call('SREM', owned, bot_id)
end
for _, key in ipairs(once_keys) do
  local named = redis.call('GET', key)
  if named == bot_id or (named and string.match(named, '^%S+ (.*)$') == bot_id) then redis.call('DEL', key) end
end
note_action(actions, action)
return 1
