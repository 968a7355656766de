-- A job of the HTTP API goes on the list, or nothing changes: what a client sent before, what belongs to another meeting
-- and what is more than its share is found out here, in one step, however many ask at once.
-- KEYS: jobs, bot, submitted, owned, then those of them that ARGV speaks of: idempotency, dedup, meeting.
-- ARGV: bot_id, payload, entry (JSON), its life in s, quota (0: none), life of owned in s, '1' if there is an idempotency
-- key, digest of the request, life of the idempotency key in s, '1' if there is a deduplication key, its life in s, '1' if it is to
-- be the only bot in its meeting.
-- Answers {verdict, bot_id}: the bot is another one's where the verdict is that it was there before.
local bot_id, at = ARGV[1], 5
local idempotency, dedup, meeting
if ARGV[7] == '1' then idempotency, at = KEYS[at], at + 1 end
if ARGV[10] == '1' then dedup, at = KEYS[at], at + 1 end
if ARGV[12] == '1' then meeting = KEYS[at] end

if idempotency then
  local known = redis.call('GET', idempotency)
  if known then
    local digest, first = string.match(known, '^(%S+) (.*)$')
    return {digest == ARGV[8] and 'replayed' or 'key_reused', first}
  end
end
if dedup then
  local first = redis.call('GET', dedup)
  if first then return {'deduplicated', first} end
end
if meeting then
  local first, coming = holder(meeting)
  if first or coming then return {'meeting_held', first or coming} end
end
if redis.call('EXISTS', KEYS[2], KEYS[3]) > 0 then return {'id_taken', bot_id} end
local quota = tonumber(ARGV[5])
if quota > 0 and redis.call('SCARD', KEYS[4]) >= quota then return {'over_quota', bot_id} end

redis.call('SET', KEYS[3], ARGV[3], 'EX', ARGV[4])
redis.call('SADD', KEYS[4], bot_id)
redis.call('EXPIRE', KEYS[4], ARGV[6])
if idempotency then redis.call('SET', idempotency, ARGV[8] .. ' ' .. bot_id, 'EX', ARGV[9]) end
if dedup then redis.call('SET', dedup, bot_id, 'EX', ARGV[11]) end
redis.call('LPUSH', KEYS[1], ARGV[2])
if meeting then hold(meeting, bot_id, KEYS[2], KEYS[3], ARGV[4]) end
return {'submitted', bot_id}
