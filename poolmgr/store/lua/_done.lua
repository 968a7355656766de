-- Whether all is done for a bot that ends or has ended, '1' or '': neither its recording nor its transcript is waited for any
-- more. Answers '1' once: the record says when.
local function conclude(bot, at)
  local manifest_status, transcript_status, done_at = unpack(redis.call('HMGET', bot, 'manifest_status', 'transcript_status',
    'done_at'))
  if manifest_status == 'recording' or transcript_status == 'processing' or (done_at or '') ~= '' then return '' end
  redis.call('HSET', bot, 'done_at', at)
  return '1'
end
