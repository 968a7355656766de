-- Messages of another queue become jobs of the list, each once: a mark says that it was there before. The mark is set after
-- the job, so that a job which Redis refuses is not taken for one that it has.
-- Answers how many were handed in.
local handed_in = 0
for i, mark in ipairs(marks) do
  if redis.call('EXISTS', mark) == 0 then
    redis.call('LPUSH', jobs, payloads[i])
    redis.call('SET', mark, '', 'EX', MARK_LIFE_S)
    handed_in = handed_in + 1
  end
end
return handed_in
