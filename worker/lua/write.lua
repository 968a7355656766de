-- Write an agent's events, in their order, each once: those up to the number that was written last are passed over, for
-- an agent that was cut off, or killed, between the writing and the answer asks for them again.
-- Two agents that live under one vm_id at once undo this for each other; the `id` of an event is still the same.
-- KEYS: events, written, alive, commands. ARGV: session, presence, its life in s, commands' life in s, written's and
-- events' life in s, most entries in the stream for a heartbeat to be added, then number and message, again and again; a heartbeat has
-- the number 0. It says what is: when nobody reads, the next one will do.
-- Answers who lived under this vm_id before, or nothing.
local last = redis.call('HMGET', KEYS[2], 'session', 'number')
local number = last[1] == ARGV[1] and tonumber(last[2]) or 0
local nobody_reads = redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[6])
local written = number
for i = 7, #ARGV, 2 do
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
