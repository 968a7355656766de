-- End a bot once: record, indexes and expiry change together. A second end changes nothing. `by_status`: the index of
-- its outward status. `bundle`: the name of its evidence, or empty. `due`: the index of bots of whose meeting an agent
-- is still to make something, which is waited for from `awaited_since` on; `look_at`: when to look for it first.
local state = redis.call('HGET', bot, 'state')
if not state or state == STOPPED then return 0 end
local created = redis.call('ZSCORE', live, bot_id) or stopped
announce(bot, status, outbox, keep, bot_id, at, fields, conclude(bot, at))
relate(story, entry)
if bundle ~= '' then name_bundle(bot, bundle) end
redis.call('EXPIRE', bot, record_life_s)
redis.call('EXPIRE', story, record_life_s)
redis.call('ZREM', live, bot_id)
redis.call('ZADD', ended, stopped, bot_id)
redis.call('ZADD', by_status, created, bot_id)
if awaits_agent(bot) then
  redis.call('HSET', bot, 'awaited_since', awaited_since)
  redis.call('ZADD', due, look_at, bot_id)
  redis.call('EXPIRE', due, INDEX_LIFE_S)
end
redis.call('EXPIRE', ended, INDEX_LIFE_S)
redis.call('EXPIRE', by_status, INDEX_LIFE_S)
local owner, was_in = unpack(redis.call('HMGET', bot, 'owner', 'inmeeting_at'))
count_usage(usage, owner, 'bots', 1)
local since, over = was_in and seconds_of(was_in), seconds_of(at)
if since then
  count_usage(usage, owner, 'joined', 1)
  if over and over > since then count_usage(usage, owner, 'in_meeting_s', over - since) end
end
if owned then redis.call('SREM', owned, bot_id) end
return 1
