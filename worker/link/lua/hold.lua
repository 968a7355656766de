-- Hold what one may have at a time, or go on holding it. KEYS: the name. ARGV: holder, for how long in ms.
-- 1: it is the holder's. 0: somebody else's. Asked again by the same holder it answers the same.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
