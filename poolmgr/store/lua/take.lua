-- Move jobs from the list to the list of taken ones, oldest first, up to a number and a size.
-- Answers the jobs.
local moved, bytes = {}, 0
while #moved < most and bytes < most_bytes do
  local job = redis.call('LMOVE', jobs, taken, 'RIGHT', 'LEFT')
  if not job then break end
  moved[#moved + 1] = job
  bytes = bytes + #job
end
return moved
