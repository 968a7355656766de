-- Remove from a quota those of `bot_ids` that have ended or never existed: no record that lives, and no entry of a job that the
-- API pushed. Both are looked at in one step, because a leader makes the one of the other. Answers the removed ones.
local over = {}
for i, bot_id in ipairs(bot_ids) do
  local state = redis.call('HGET', bots[i], 'state')
  if state == STOPPED or (not state and redis.call('EXISTS', submitted[i]) == 0) then over[#over + 1] = bot_id end
end
if #over > 0 then redis.call('SREM', owned, unpack(over)) end
return over
