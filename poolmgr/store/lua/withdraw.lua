-- A submitted job is taken back: off the list if nobody has taken it yet, and its keys free for the next try.
-- KEYS: jobs, submitted, owned, then the idempotency and dedup keys, if there are any. ARGV: bot_id, payload, '1' if its bot
-- has ended already without having had a chance: then only the keys are to go.
-- Answers 1 if nothing will come of the job any more, 0 if it was taken and goes its way.
local bot_id = ARGV[1]
if ARGV[3] ~= '1' then
  if redis.call('LREM', KEYS[1], 1, ARGV[2]) == 0 then return 0 end
  redis.call('DEL', KEYS[2])
  redis.call('SREM', KEYS[3], bot_id)
end
for i = 4, #KEYS do
  local named = redis.call('GET', KEYS[i])
  if named == bot_id or (named and string.match(named, '^%S+ (.*)$') == bot_id) then redis.call('DEL', KEYS[i]) end
end
return 1
