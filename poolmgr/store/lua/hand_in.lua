-- Entries of the job stream become jobs of the list, and only then are acknowledged and deleted: what is pending was not
-- handed in, what is not pending was, or was another leader's to hand in.
-- KEYS: epoch, job stream, jobs. ARGV: epoch, group, then entry id and job for each. Answers how many were handed in.
local handed_in = 0
for i = 3, #ARGV, 2 do
  if #redis.call('XPENDING', KEYS[2], ARGV[2], ARGV[i], ARGV[i], 1) > 0 then
    redis.call('LPUSH', KEYS[3], ARGV[i + 1])
    redis.call('XACK', KEYS[2], ARGV[2], ARGV[i])
    redis.call('XDEL', KEYS[2], ARGV[i])
    handed_in = handed_in + 1
  end
end
return handed_in
