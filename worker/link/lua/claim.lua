-- Claim one attempt of a bot for one worker, right before it joins. Another attempt cannot be claimed after that.
-- Answers 1: claimed, and `claimed` in the record is the attempt; 0: the attempt is stale, and nothing has changed. A second
-- claim of the same attempt answers the same, so the script may be repeated.
local assigned, claimed = unpack(redis.call('HMGET', bot, 'worker_id', 'claimed'))
if not counts(bot, attempt) or assigned ~= worker_id then return 0 end
if tonumber(claimed) ~= attempt then redis.call('HSET', bot, 'claimed', attempt, 'claimed_at', at) end
return 1
