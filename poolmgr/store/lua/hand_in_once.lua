-- Messages of another queue become jobs of the list, each once: a mark says that it was there before. The mark is set after
-- the job, so that a job which Redis refuses is not taken for one that it has.
-- KEYS: epoch, jobs, then a mark for each message. ARGV: epoch, life of a mark in s, then a job for each message.
-- Answers how many were handed in.
local handed_in = 0
for i = 3, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 0 then
    redis.call('LPUSH', KEYS[2], ARGV[i])
    redis.call('SET', KEYS[i], '', 'EX', ARGV[2])
    handed_in = handed_in + 1
  end
end
return handed_in
