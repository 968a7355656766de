-- Record the state of a bot's live feed, also after the bot's end. `noted_as`: the record's field to mark because the
-- feed's receiver has taken something, or empty.
if tonumber(redis.call('HGET', bot, 'attempt')) ~= attempt then return 0 end
redis.call('HSET', bot, unpack(fields))
if noted_as ~= '' then note_received(bot, noted, keep, bot_id, noted_as) end
relate(story, entry)
return 1
