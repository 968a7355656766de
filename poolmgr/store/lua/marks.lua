-- A mark of each VM: a digest of its record, its workers and whether its agent is alive. A VM with the mark that it had
-- has not changed, and need not be read.
local found = {}
for i = 1, #vms do
  local vm, its_workers = redis.call('HGETALL', vms[i]), redis.call('HGETALL', workers[i])
  local text = table.concat(vm, '\n') .. '\n\n' .. table.concat(its_workers, '\n')
  found[i] = redis.sha1hex(redis.call('EXISTS', alive[i]) .. text)
end
return found
