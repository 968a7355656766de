-- Write who joined and who left a bot's meeting, one JSON object each. Somebody who comes back has not left. Idempotent.
-- `came`: id and name of each; `left`: ids; `nobody_else`: everybody else has left.
if not counts(bot, attempt) then return 0 end
local is_back = {}

local function put(id, name, joined_at, left_at)
  redis.call('HSET', participants, id, '{"id":' .. cjson.encode(id) .. ',"name":' .. cjson.encode(name)
    .. ',"joined_at":"' .. joined_at .. '","left_at":"' .. left_at .. '"}')
end

local function went(id, raw)
  local known = raw and cjson.decode(raw)
  if known and known.left_at == '' then put(id, known.name, known.joined_at, at) end
end

local room = MOST_NOTED - redis.call('HLEN', participants)
for i = 1, #came, 2 do
  local id, name = came[i], came[i + 1]
  local before = redis.call('HGET', participants, id)
  is_back[id] = true
  if before then
    put(id, name, cjson.decode(before).joined_at, '')
  elseif room > 0 then
    put(id, name, at, '')
    room = room - 1
  end
end
for _, id in ipairs(left) do went(id, redis.call('HGET', participants, id)) end
if nobody_else then
  local known = redis.call('HGETALL', participants)
  for i = 1, #known, 2 do
    if not is_back[known[i]] then went(known[i], known[i + 1]) end
  end
end
redis.call('EXPIRE', participants, life_s)
return 1
