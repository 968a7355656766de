-- Whether the transcript with this number is still the one that was to be made of that attempt. A later attempt of the bot has
-- another one under the same number, or none.
local function is_current(transcriptions, number, attempt)
  local asked = redis.call('HGET', transcriptions, number)
  return asked and (cjson.decode(asked).attempt or 0) == attempt
end
-- Whether there is a transcript of the bot that is to be made.
local function is_any_under_way(transcriptions)
  for _, asked in ipairs(redis.call('HVALS', transcriptions)) do
    if (cjson.decode(asked).status or 'processing') == 'processing' then return true end
  end
  return false
end
