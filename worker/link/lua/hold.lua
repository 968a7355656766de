-- Take or keep something that one process holds at a time. Answers 1: the holder has it; 0: somebody else has it. May be
-- repeated.
local before = redis.call('GET', name)
if before and before ~= holder then return 0 end
redis.call('SET', name, holder, 'PX', life_ms)
return 1
