-- Put a job of the HTTP API on the list, or change nothing. Repeated requests, held meetings and the quota are checked in the
-- same step, however many requests come at once. `quota`: 0: none. The id of a bot whose recording is kept, or was deleted
-- lately, is taken. `unserved`: a bot whose deduplication_key is free, also while nobody has freed it yet; empty: none.
-- Answers {verdict, bot_id}; the bot is the earlier one if the verdict is about one.
if idempotency then
  local known = redis.call('GET', idempotency)
  if known then
    local before, first = string.match(known, '^(%S+) (.*)$')
    return {before == digest and 'replayed' or 'key_reused', first}
  end
end
if dedup then
  local first, coming = keyed(dedup)
  if coming then return {'key_held', coming} end
  if first and first ~= unserved then return {'deduplicated', first} end
end
if meeting then
  local first, coming = holder(meeting)
  if first or coming then return {'meeting_held', first or coming} end
end
if redis.call('EXISTS', bot, submitted) > 0 or redis.call('ZSCORE', expiring, bot_id) then
  return {'id_taken', bot_id}
end
if quota > 0 and redis.call('SCARD', owned) >= quota then return {'over_quota', bot_id} end

redis.call('SET', submitted, entry, 'EX', ENTRY_LIFE_S)
redis.call('SADD', owned, bot_id)
redis.call('EXPIRE', owned, INDEX_LIFE_S)
if idempotency then redis.call('SET', idempotency, digest .. ' ' .. bot_id, 'EX', IDEMPOTENCY_LIFE_S) end
if dedup then redis.call('SET', dedup, bot_id, 'EX', dedup_life_s) end
redis.call('LPUSH', jobs, payload)
if meeting then hold(meeting, bot_id, bot, submitted, ENTRY_LIFE_S) end
note_action(actions, action)
return {'submitted', bot_id}
