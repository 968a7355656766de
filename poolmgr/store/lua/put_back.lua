-- Move a rejected job from the dead stream back to the list, once even if two operators do it at the same time.
-- Answers its fields; nothing if it is not there.
local found = redis.call('XRANGE', dead, entry_id, entry_id)
if #found == 0 then return false end
local fields = found[1][2]
for i = 1, #fields, 2 do
  if fields[i] == 'payload' then redis.call('LPUSH', jobs, fields[i + 1]) end
end
redis.call('XDEL', dead, entry_id)
note_action(actions, action)
return fields
