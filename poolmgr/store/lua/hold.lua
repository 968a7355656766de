-- The leader holds a deduplication_key and a meeting for a bot that it is about to accept, so that the API makes no second one
-- meanwhile: both, or none. A hold of an earlier leader without a bot is free: its job is read again.
-- Answers the bot that has the key, and the one that has the meeting: this one, or an earlier one.
local named = dedup and keyed(dedup)
local first = meeting and holder(meeting)
if (named or bot_id) == bot_id and (first or bot_id) == bot_id then
  if dedup and not named then redis.call('SET', dedup, KEY_HELD .. bot_id, 'EX', HELD_S) end
  if meeting and not first then hold(meeting, bot_id, bot, submitted, HELD_S, true) end
end
return {named or bot_id, first or bot_id}
