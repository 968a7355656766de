-- Take a bot out of the index of those with a transcript that is due, if none is to be made, or if its record is gone.
for _, asked in ipairs(redis.call('EXISTS', bot) == 1 and redis.call('HVALS', transcriptions) or {}) do
  if (cjson.decode(asked).status or 'processing') == 'processing' then return 0 end
end
return redis.call('ZREM', due, bot_id)
