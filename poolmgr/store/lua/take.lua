-- Move waiting jobs to the list of taken ones, oldest first, until there are enough of them or they are long enough.
-- KEYS: jobs, taken. ARGV: jobs, bytes. Answers the jobs.
local moved, bytes = {}, 0
while #moved < tonumber(ARGV[1]) and bytes < tonumber(ARGV[2]) do
  local job = redis.call('LMOVE', KEYS[1], KEYS[2], 'RIGHT', 'LEFT')
  if not job then break end
  moved[#moved + 1] = job
  bytes = bytes + #job
end
return moved
