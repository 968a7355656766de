-- Put the result of a probe first in its link's history, once. `run`: JSON that begins with the bot_id.
local latest = redis.call('LINDEX', history, 0)
if latest and string.find(latest, '{"bot_id":"' .. bot_id .. '"', 1, true) == 1 then return 0 end
redis.call('LPUSH', history, run)
redis.call('LTRIM', history, 0, PROBES_KEPT - 1)
redis.call('EXPIRE', history, PROBES_LIFE_S)
return 1
