-- Hand a rejected job in once more and take it off the dead stream: two operators at once do it once.
-- KEYS: dead, jobs. ARGV: entry id. Answers its fields, or nothing if it is not there.
local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])
if #found == 0 then return false end
local fields = found[1][2]
for i = 1, #fields, 2 do
  if fields[i] == 'payload' then redis.call('LPUSH', KEYS[2], fields[i + 1]) end
end
redis.call('XDEL', KEYS[1], ARGV[1])
return fields
