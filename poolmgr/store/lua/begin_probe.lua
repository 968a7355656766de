-- Begin a turn of a link's probes, once: its job goes on the list.
local before = redis.call('HGET', probes, name)
if before and tonumber(string.match(before, '^%d+')) >= turn then return 0 end
redis.call('HSET', probes, name, turn .. ' ' .. bot_id)
redis.call('EXPIRE', probes, PROBES_LIFE_S)
redis.call('LPUSH', jobs, payload)
return 1
