-- Put entries of the job stream on the list of jobs; then acknowledge and delete them. An entry that is not pending was put
-- before, or belongs to another leader. `entries`: id and job of each.
-- Answers how many were put.
local handed_in = 0
for i = 1, #entries, 2 do
  local entry_id = entries[i]
  if #redis.call('XPENDING', job_stream, group, entry_id, entry_id, 1) > 0 then
    redis.call('LPUSH', jobs, entries[i + 1])
    redis.call('XACK', job_stream, group, entry_id)
    redis.call('XDEL', job_stream, entry_id)
    handed_in = handed_in + 1
  end
end
return handed_in
