-- Write an agent's events in order, each once. Events up to the number that was last written are ignored: an agent that was cut
-- off or killed before the answer sends them again.
-- If two agents use one vm_id at once, events may be written twice; the `id` of an event stays the same.
-- `entries`: number and message in turn; a heartbeat has the number 0. A heartbeat is left out if the stream is longer than
-- `most_unread` and nobody has read it for a while: the next one will say the same.
-- Answers who used this vm_id before, or nothing.
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
