-- Whether the transcript with this number is still the one that `asked` says. A later attempt of the bot has another one under
-- the same number, or none. If captions came meanwhile, one that was not made is looked at anew: they stay then.
local function is_current(transcriptions, number, asked)
  local found = redis.call('HGET', transcriptions, number)
  if not found then return false end
  local one, other = cjson.decode(found), cjson.decode(asked)
  if (one.attempt or 0) ~= (other.attempt or 0) then return false end
  return other.status == 'processed' or (one.captions or '') == (other.captions or '')
end
-- Whether there is a transcript of the bot that is to be made.
local function is_any_under_way(transcriptions)
  for _, asked in ipairs(redis.call('HVALS', transcriptions)) do
    if (cjson.decode(asked).status or 'processing') == 'processing' then return true end
  end
  return false
end
