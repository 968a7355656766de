-- Whether an agent is still to make something of a bot's meeting: the files of its recording, or its transcript. A
-- transcript that a provider makes of the recording (its record has `transcript_by` then) is the manager's affair.
local function awaits_agent(bot)
  local manifest_status, transcript_status, by = unpack(redis.call('HMGET', bot, 'manifest_status', 'transcript_status',
    'transcript_by'))
  return manifest_status == 'recording' or (transcript_status == 'processing' and (by or '') == '')
end
