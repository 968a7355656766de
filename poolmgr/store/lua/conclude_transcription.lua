-- A transcript of a bot's recording, of that attempt, was made (`became` is `processed`), or was given up (`skipped`,
-- `failed`), with `why`; where that leaves one of captions, `became` is `processed`, too. The transcript that its job asked for (number 1) also
-- sets the record's `transcript_status`, and `by`, the provider. `callback`: a further address for the webhook, besides
-- callback_url. Answers `noted`; `forgotten`: the bot's record is gone; `superseded`: it is no longer the one that was to
-- be made; `over`: it was made, and the time of the recording was over by then, `stamp`: it stays due, to be deleted and
-- given up.
local state, manifest_status = unpack(redis.call('HMGET', bot, 'state', 'manifest_status'))
if not state then
  redis.call('ZREM', due, bot_id)
  return 'forgotten'
end
if not is_current(transcriptions, number, asked) then return 'superseded' end
local until_at = tonumber(redis.call('ZSCORE', expiring, bot_id) or 'inf')
local is_over = manifest_status == 'expired' or (state == STOPPED and until_at <= tonumber(stamp))
if why == '' and is_over then return 'over' end
redis.call('HSET', transcriptions, number, asked)
if is_any_under_way(transcriptions) then -- that of the job became due after a client had asked for another one
  redis.call('ZADD', due, 'XX', stamp, bot_id)
else
  redis.call('ZREM', due, bot_id)
end
local done = ''
if number == 1 then
  redis.call('HSET', bot, 'transcript_status', became, 'transcript_by', by)
  if became == 'processed' then redis.call('HSET', bot, 'transcribed_at', at) end
  done = state == STOPPED and conclude(bot, at) or ''
end
relate(story, entry)
local tell = callback ~= '' and notify or call_back
tell(outbox, bot, bot_id, redis.call('HGET', bot, 'attempt'), at,
  {'transcribed', became, 'why', why, 'number', number, 'callback', callback, 'done', done})
return 'noted'
