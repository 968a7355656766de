-- The leader holds a meeting for a bot that it is about to accept, so that the API makes no second one meanwhile. A hold of an
-- earlier leader without a bot is free: its job is read again.
-- Answers the bot that has the meeting: this one, or an earlier one.
local first = holder(meeting)
if first then return first end
hold(meeting, bot_id, bot, submitted, HELD_S, true)
return bot_id
