-- Whether the transcript with this number is still the one that was to be made of that attempt. A later attempt of the bot has
-- another one under the same number, or none.
local function is_current(transcriptions, number, attempt)
  local asked = redis.call('HGET', transcriptions, number)
  return asked and (cjson.decode(asked).attempt or 0) == attempt
end
