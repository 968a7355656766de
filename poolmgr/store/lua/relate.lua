-- Add something to a bot's story that does not change its state: what its page shows, or that an attempt failed.
-- `bundle`: the name of the evidence, or empty.
if not counts(bot, attempt) then return 0 end
relate(story, entry)
if bundle ~= '' then name_bundle(bot, bundle) end
if #fields > 0 then redis.call('HSET', bot, unpack(fields)) end
return 1
