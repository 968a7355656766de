-- Take a bot out of the index of those of whose meeting an agent is still to make something, `due`, if that is so of nothing, or
-- if its record is gone.
if awaits_agent(bot) then return 0 end
return redis.call('ZREM', due, bot_id)
