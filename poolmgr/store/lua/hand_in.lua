-- Entries of the job stream become jobs of the list, and only then are acknowledged and deleted: what is pending was not
-- handed in, what is not pending was, or was another leader's to hand in. `entries`: id and job of each.
-- Answers how many were handed in.
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
