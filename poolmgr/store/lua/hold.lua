-- The leader takes a meeting for a bot that it is about to accept, so that the API makes no second one meanwhile. What an
-- earlier leader took so and came to no end with is free: its job is read again.
-- KEYS: meeting, bot, submitted. ARGV: bot_id, life in s, until it is accepted.
-- Answers the bot that has the meeting: this one, or the one that was first.
local first = holder(KEYS[1])
if first then return first end
hold(KEYS[1], ARGV[1], KEYS[2], KEYS[3], ARGV[2], true)
return ARGV[1]
