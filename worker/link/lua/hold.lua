-- Hold what one may have at a time, or go on holding it. 1: it is the holder's. 0: somebody else's. Asked again by the same
-- holder it answers the same.
local before = redis.call('GET', name)
if before and before ~= holder then return 0 end
redis.call('SET', name, holder, 'PX', life_ms)
return 1
