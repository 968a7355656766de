-- A bot's new state, unless it has ended or another attempt counts by now.
if not counts(bot, attempt) then return 0 end
announce(bot, status, outbox, keep, bot_id, at, fields)
relate(story, entry)
return 1
