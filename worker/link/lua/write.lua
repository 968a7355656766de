-- Write an agent's events, in their order, each once: those up to the number that was written last are passed over, for
-- an agent that was cut off, or killed, between the writing and the answer asks for them again.
-- Two agents that live under one vm_id at once undo this for each other; the `id` of an event is still the same.
-- `entries`: number and message, again and again; a heartbeat has the number 0. It says what is, so the next one will do:
-- when the stream is long (`most_unread`) and nobody has read of it for a while (what is read stays for a while, too), none
-- is added.
-- Answers who lived under this vm_id before, or nothing.
local last = redis.call('HMGET', written, 'session', 'number')
local number = last[1] == session and tonumber(last[2]) or 0
local nobody_reads = false
if redis.call('XLEN', events) >= most_unread then
  local now, read_at = tonumber(redis.call('TIME')[1]), 0
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', events)) do
    for i = 1, #group, 2 do
      if group[i] == 'last-delivered-id' then
        read_at = math.max(read_at, tonumber(string.match(group[i + 1], '^%d+')) / 1000)
      end
    end
  end
  nobody_reads = now - read_at >= NOBODY_READS_S
end
local newest = number
for i = 1, #entries, 2 do
  local mine = tonumber(entries[i])
  if mine == 0 then
    if not nobody_reads then redis.call('XADD', events, '*', 'm', entries[i + 1]) end
  elseif mine > newest then
    redis.call('XADD', events, '*', 'm', entries[i + 1], 'id', session .. '-' .. entries[i])
    newest = mine
  end
end
if newest > number then
  redis.call('HSET', written, 'session', session, 'number', string.format('%d', newest))
  redis.call('EXPIRE', written, WRITTEN_LIFE_S)
end
redis.call('EXPIRE', events, WRITTEN_LIFE_S)
local before = redis.call('GET', alive)
redis.call('SET', alive, presence, 'EX', ALIVE_S)
redis.call('EXPIRE', commands, COMMANDS_LIFE_S)
return before
