-- Record, each once: a bot's meeting is being recorded; the files were made; or the files have not been made for too
-- long. The last two mostly come after the bot's end. `stamp`: when; `retention_s`: how long the recording is kept if
-- its job does not say, 0: for ever; `over`: the earlier statuses that this one may follow. A later attempt of the bot begins
-- anew: whatever was said of an earlier one, which is kept for as long as the later one. Until then the earlier one counts. The end of a bot that was not
-- being recorded said that it has nothing: after that only files that are made count. A transcript that waits for the
-- files (`transcriptions_due`) is due now.
local latest, of, before, state = unpack(redis.call('HMGET', bot, 'attempt', 'recorded_attempt', 'manifest_status',
  'state'))
before = before or ''
local is_anew = manifest_status ~= 'skipped' and tonumber(of) and tonumber(of) < attempt
local is_told = state == STOPPED and before ~= 'recording'
if (is_anew or before == '') and before ~= 'expired' then before = is_told and 'skipped' or '' end
local follows = false
for _, one in ipairs(over) do follows = follows or one == before end
if (tonumber(latest) ~= attempt and tonumber(of) ~= attempt) or not follows then return 0 end
if is_anew then redis.call('HDEL', bot, 'files_at') end
redis.call('HSET', bot, 'manifest_status', manifest_status, 'audio_status', audio_status, 'video_status', video_status)
if manifest_status ~= 'skipped' then
  local stage = manifest_status == 'recording' and 'recording_at' or 'files_at'
  redis.call('HSET', bot, 'recorded_attempt', attempt, stage, at)
  redis.call('HDEL', bot, 'unmade_by', 'unmade_why')
end
if is_anew then redis.call('ZREM', expiring, bot_id) end
relate(story, entry)
if manifest_status ~= 'recording' then
  if not awaits_agent(bot) then redis.call('ZREM', due, bot_id) end
  redis.call('ZADD', transcriptions_due, 'XX', 'LT', stamp, bot_id)
  expire_recording(expiring, bot, bot_id, stamp, retention_s)
end
if audio_status == 'processed' or video_status == 'processed' then
  local owner = redis.call('HGET', bot, 'owner')
  count_usage(usage, owner, 'recordings', 1)
  count_usage(usage, owner, 'audio_s', audio_s)
  count_usage(usage, owner, 'stored_bytes', stored_bytes)
end
call_back(outbox, bot, bot_id, attempt, at,
  {'recorded', manifest_status, 'audio', audio_status, 'video', video_status, 'before', before,
  'why', redis.call('HGET', bot, 'unmade_why') or '',
  'done', state == STOPPED and conclude(bot, at) or ''})
return 1
