-- Put messages of another queue on the list of jobs, each once: a mark says that a message was put before. The mark is set
-- after the job, so that a job which Redis refuses has no mark.
-- Answers how many were put.
local handed_in = 0
for i, mark in ipairs(marks) do
  if redis.call('EXISTS', mark) == 0 then
    redis.call('LPUSH', jobs, payloads[i])
    redis.call('SET', mark, '', 'EX', MARK_LIFE_S)
    handed_in = handed_in + 1
  end
end
return handed_in
