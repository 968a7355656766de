-- The leader takes a meeting for a bot that it is about to accept, so that the API makes no second one meanwhile. What an
-- earlier leader took so and came to no end with is free: its job is read again.
-- Answers the bot that has the meeting: this one, or the one that was first.
local first = holder(meeting)
if first then return first end
hold(meeting, bot_id, bot, submitted, HELD_S, true)
return bot_id
