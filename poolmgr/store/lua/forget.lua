-- An ended bot and all that is kept of it are no more, but for webhooks that are still to be delivered.
-- KEYS: bot, ended, all, outbox, dedup and meeting (or bot again, if it has none), index and sizes of evidence, its
-- satellites, its indexes. ARGV: bot_id, how many satellites, a last webhook as JSON (or empty), life of the outbox in s,
-- how many of the satellites, the last ones, are evidence.
-- Answers how many keys and index entries were deleted; 0 if it has not ended; -1 if there is to be a last webhook while
-- earlier ones are still to be made of its record.
if redis.call('HGET', KEYS[1], 'state') ~= 'stopped' then return 0 end
local bot_id, satellites = ARGV[1], tonumber(ARGV[2])
if ARGV[3] ~= '' then
  local before, page = '+', nil
  repeat
    page = redis.call('XREVRANGE', KEYS[4], before, '-', 'COUNT', 500)
    for _, entry in ipairs(page) do
      if entry[2][2] == bot_id then return -1 end
    end
    if #page > 0 then before = '(' .. page[#page][1] end
  until #page < 500
end
local gone = 0
if KEYS[5] ~= KEYS[1] and redis.call('GET', KEYS[5]) == bot_id then gone = gone + redis.call('DEL', KEYS[5]) end
if KEYS[6] ~= KEYS[1] and redis.call('HGET', KEYS[6], 'bot_id') == bot_id then gone = gone + redis.call('DEL', KEYS[6]) end
gone = gone + redis.call('DEL', KEYS[1])
gone = gone + redis.call('ZREM', KEYS[2], bot_id) + redis.call('ZREM', KEYS[3], bot_id)
for i = 9, 8 + satellites do gone = gone + redis.call('DEL', KEYS[i]) end
for i = 9 + satellites - ARGV[5], 8 + satellites do
  local size = redis.call('HGET', KEYS[8], KEYS[i])
  if size then
    redis.call('ZREM', KEYS[7], KEYS[i])
    redis.call('HDEL', KEYS[8], KEYS[i])
    redis.call('HINCRBY', KEYS[8], 'total', -size)
  end
end
for i = 9 + satellites, #KEYS do gone = gone + redis.call('ZREM', KEYS[i], bot_id) end
if ARGV[3] ~= '' then
  redis.call('XADD', KEYS[4], '*', 'bot_id', bot_id, 'delivery', ARGV[3])
  redis.call('EXPIRE', KEYS[4], ARGV[4])
end
return gone
