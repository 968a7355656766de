-- Who came into a bot's meeting and who went: one JSON object each. Who comes back has not left; nothing happens twice.
-- KEYS: epoch, bot, participants. ARGV: epoch, attempt, most kept, life in s, at (ISO), '1' if nobody else is there than
-- who came, how many came, then id and name of each, then the ids of those who went.
local now = redis.call('HMGET', KEYS[2], 'state', 'attempt')
if not now[1] or now[1] == 'stopped' or now[2] ~= ARGV[2] then return 0 end
local at, came = ARGV[5], {}

local function put(id, name, joined_at, left_at)
  redis.call('HSET', KEYS[3], id, '{"id":' .. cjson.encode(id) .. ',"name":' .. cjson.encode(name)
    .. ',"joined_at":"' .. joined_at .. '","left_at":"' .. left_at .. '"}')
end

local function went(id, raw)
  local one = raw and cjson.decode(raw)
  if one and one.left_at == '' then put(id, one.name, one.joined_at, at) end
end

local room = ARGV[3] - redis.call('HLEN', KEYS[3])
local last = 7 + 2 * ARGV[7]
for i = 8, last, 2 do
  local id, name = ARGV[i], ARGV[i + 1]
  local before = redis.call('HGET', KEYS[3], id)
  came[id] = true
  if before then
    put(id, name, cjson.decode(before).joined_at, '')
  elseif room > 0 then
    put(id, name, at, '')
    room = room - 1
  end
end
for i = last + 1, #ARGV do went(ARGV[i], redis.call('HGET', KEYS[3], ARGV[i])) end
if ARGV[6] == '1' then
  local known = redis.call('HGETALL', KEYS[3])
  for i = 1, #known, 2 do
    if not came[known[i]] then went(known[i], known[i + 1]) end
  end
end
redis.call('EXPIRE', KEYS[3], ARGV[4])
return 1
