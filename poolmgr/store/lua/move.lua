-- Write a bot's new state, unless the bot has ended or another attempt is current.
if not counts(bot, attempt) then return 0 end
announce(bot, status, outbox, keep, bot_id, at, fields)
relate(story, entry)
return 1
