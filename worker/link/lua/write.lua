-- Write an agent's events, in their order, each once: those up to the number that was written last are passed over, for
-- an agent that was cut off, or killed, between the writing and the answer asks for them again.
-- Two agents that live under one vm_id at once undo this for each other; the `id` of an event is still the same.
-- KEYS: events, written, alive, commands. ARGV: session, presence, its life in s, commands' life in s, written's and
-- events' life in s, most entries and s without a reader, then number and message, again and again; a heartbeat has the
-- number 0. It says what is, so the next one will do: when the stream is long and nobody has read of it for a while (what
-- is read stays for a while, too), none is added.
-- Answers who lived under this vm_id before, or nothing.
local last = redis.call('HMGET', KEYS[2], 'session', 'number')
local number = last[1] == ARGV[1] and tonumber(last[2]) or 0
local nobody_reads = false
if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[6]) then
  local now, read_at = tonumber(redis.call('TIME')[1]), 0
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    for i = 1, #group, 2 do
      if group[i] == 'last-delivered-id' then
        read_at = math.max(read_at, tonumber(string.match(group[i + 1], '^%d+')) / 1000)
      end
    end
  end
  nobody_reads = now - read_at >= tonumber(ARGV[7])
end
local written = number
for i = 8, #ARGV, 2 do
  local mine = tonumber(ARGV[i])
  if mine == 0 then
    if not nobody_reads then redis.call('XADD', KEYS[1], '*', 'm', ARGV[i + 1]) end
  elseif mine > written then
    redis.call('XADD', KEYS[1], '*', 'm', ARGV[i + 1], 'id', ARGV[1] .. '-' .. ARGV[i])
    written = mine
  end
end
if written > number then
  redis.call('HSET', KEYS[2], 'session', ARGV[1], 'number', string.format('%d', written))
  redis.call('EXPIRE', KEYS[2], ARGV[5])
end
redis.call('EXPIRE', KEYS[1], ARGV[5])
local before = redis.call('GET', KEYS[3])
redis.call('SET', KEYS[3], ARGV[2], 'EX', ARGV[3])
redis.call('EXPIRE', KEYS[4], ARGV[4])
return before
