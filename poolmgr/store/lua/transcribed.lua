-- Record, each once: a transcript of a bot's meeting is being written, it is there, or there is none. The last two
-- mostly come after the bot's end, and one that is there may follow one that was given up. `by`: the provider. If the
-- job asks for a transcript of the recording, or if there is none and `after` names a provider for this, the status
-- stays `processing`, and a transcript of the recording is due; `due`, `stamp`: the index of due ones, and from when on.
-- `unmade`: the index of bots of whose meeting an agent is still to make something, also of one that says so after its end. `retention_s`: how long the transcript
-- is kept, and what there is of one that was not made, if there is no recording, which is kept with it.
-- A later attempt of the bot begins anew, whatever was said of an earlier one. Until then the earlier one counts: that the
-- later one has none does not end its transcript.
local latest, of, before, state, wanted, language = unpack(redis.call('HMGET', bot, 'attempt', 'transcribed_attempt',
  'transcript_status', 'state', 'speech_after', 'language'))
local is_anew = transcript_status ~= 'skipped' and tonumber(of) and tonumber(of) < attempt
before = not is_anew and before or ''
local is_late = (before == 'skipped' or before == 'failed') and transcript_status == 'processed'
local follows = before == '' or before == 'processing' or is_late
local is_known = tonumber(latest) == attempt or tonumber(of) == attempt
local is_of_another = before == 'processing' and tonumber(of) and tonumber(of) ~= attempt
if not is_known or is_of_another or before == transcript_status or not follows then return 0 end
if is_anew then
  redis.call('HSET', bot, 'transcript_by', '')
  redis.call('HDEL', bot, 'transcribed_at')
  redis.call('HDEL', transcriptions, 1)
  redis.call('ZREM', expiring, bot_id)
end
if transcript_status ~= 'skipped' then redis.call('HSET', bot, 'transcribed_attempt', attempt) end
local is_recorded = redis.call('HGET', bot, 'manifest_status') == 'recording' or redis.call('ZSCORE', expiring, bot_id)
if transcript_status ~= 'processing' and not is_recorded then
  expire_recording(expiring, bot, bot_id, stamp, retention_s)
end
local maker = wanted and wanted ~= '' and wanted or (transcript_status == 'skipped' and after) or ''
if transcript_status ~= 'processing' and maker ~= '' and maker ~= CAPTIONS and not is_late then
  local asked = {['provider'] = maker, ['asked_at'] = at, ['language'] = language or '', ['attempt'] = attempt,
    ['captions'] = transcript_status == 'processed' and by or ''}
  if redis.call('HSETNX', transcriptions, 1, cjson.encode(asked)) == 0 then
    if transcript_status == 'processed' then -- it came late, from a VM that was away, and stays if the provider fails
      local late = cjson.decode(redis.call('HGET', transcriptions, 1))
      late.captions = by
      redis.call('HSET', transcriptions, 1, cjson.encode(late))
    end
    return 0
  end
  redis.call('EXPIRE', transcriptions, INDEX_LIFE_S)
  redis.call('ZADD', due, stamp, bot_id)
  redis.call('EXPIRE', due, INDEX_LIFE_S)
  redis.call('HSET', bot, 'transcript_status', 'processing', 'transcript_by', by, 'transcribed_attempt', attempt)
  if not awaits_agent(bot) then redis.call('ZREM', unmade, bot_id) end
  relate(story, entry)
  return 1
end
redis.call('HSET', bot, 'transcript_status', transcript_status)
if transcript_status == 'processed' then
  redis.call('HSET', bot, 'transcript_by', by, 'transcribed_at', at)
  redis.call('HDEL', transcriptions, 1) -- what was to be made of the recording because there was none
end
if not awaits_agent(bot) then redis.call('ZREM', unmade, bot_id) end
if transcript_status == 'processing' and state == STOPPED then
  redis.call('ZADD', unmade, 'NX', stamp + TAKEN_OVER_AFTER_S, bot_id)
  redis.call('EXPIRE', unmade, INDEX_LIFE_S)
end
relate(story, entry)
call_back(outbox, bot, bot_id, attempt, at,
  {'transcribed', transcript_status, 'done', state == STOPPED and conclude(bot, at) or ''})
return 1
