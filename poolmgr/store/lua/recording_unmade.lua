-- Note that a VM makes no files of a bot's recording, and why: another one is to make them, of what the store has.
local recorded, manifest_status = unpack(redis.call('HMGET', bot, 'recorded_attempt', 'manifest_status'))
if tonumber(recorded) ~= attempt or manifest_status ~= 'recording' then return 0 end
redis.call('HSET', bot, 'unmade_by', vm_id, 'unmade_why', why)
relate(story, entry)
return 1
