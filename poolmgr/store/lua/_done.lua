-- Whether all is done for a bot that ends or has ended, '1' or '': neither its recording nor its transcript is waited for any
-- more. Answers '1' once: the record says when. A bot that a release before has ended has no `done_at`, not even an empty one:
-- UNSAID, and webhooks are made of the entry as that release made them.
local function conclude(bot, at)
  local state, manifest_status, transcript_status, done_at = unpack(redis.call('HMGET', bot, 'state', 'manifest_status',
    'transcript_status', 'done_at'))
  if state == STOPPED and not done_at then return UNSAID end
  local is_done = manifest_status ~= 'recording' and transcript_status ~= 'processing' and (done_at or '') == ''
  if is_done or not done_at then redis.call('HSET', bot, 'done_at', is_done and at or '') end
  return is_done and '1' or ''
end
