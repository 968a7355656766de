-- A submitted job is taken back: off the list if nobody has taken it yet, and its keys free for the next try.
-- `has_ended`: its bot has ended already without having had a chance, then only the keys are to go.
-- Answers 1 if nothing will come of the job any more, 0 if it was taken and goes its way.
if not has_ended then
  if redis.call('LREM', jobs, 1, payload) == 0 then return 0 end
  redis.call('DEL', submitted)
  redis.call('SREM', owned, bot_id)
end
for _, key in ipairs(once_keys) do
  local named = redis.call('GET', key)
  if named == bot_id or (named and string.match(named, '^%S+ (.*)$') == bot_id) then redis.call('DEL', key) end
end
return 1
