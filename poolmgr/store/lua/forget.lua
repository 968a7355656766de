-- Delete an ended bot and all that is kept of it, except webhooks that are still to be sent. `is_told`: somebody is told of
-- it, by `deliveries`, the last webhooks as JSON; `done`: bot.done, which comes before them if it was not told yet. A bot that
-- a release before has ended has no `done_at`, and it was told. `transcriptions`: the bot's transcripts, of which `deliveries`
-- tell as they were in `as_read`, number and JSON in turn; nil: they tell of none.
-- Answers how many keys and index entries were deleted; 0: the bot has not ended; -1: its transcripts have changed since, or
-- somebody is told of it, and earlier webhooks still need the record: nothing has changed.
if redis.call('HGET', bot, 'state') ~= STOPPED then return 0 end
if transcriptions then
  if 2 * redis.call('HLEN', transcriptions) ~= #as_read then return -1 end
  for i = 1, #as_read, 2 do
    if redis.call('HGET', transcriptions, as_read[i]) ~= as_read[i + 1] then return -1 end
  end
end
if is_told then
  local before, page = '+', nil
  repeat
    page = redis.call('XREVRANGE', outbox, before, '-', 'COUNT', 500)
    for _, entry in ipairs(page) do
      if entry[2][2] == bot_id then return -1 end
    end
    if #page > 0 then before = '(' .. page[#page][1] end
  until #page < 500
end
local is_undone = redis.call('HGET', bot, 'done_at') == ''
local gone = 0
if dedup and redis.call('GET', dedup) == bot_id then gone = gone + redis.call('DEL', dedup) end
if meeting and redis.call('HGET', meeting, 'bot_id') == bot_id then gone = gone + redis.call('DEL', meeting) end
gone = gone + redis.call('DEL', bot)
gone = gone + redis.call('ZREM', ended, bot_id) + redis.call('ZREM', all_bots, bot_id)
for _, key in ipairs(further_keys) do gone = gone + redis.call('DEL', key) end
for _, bundle in ipairs(bundles) do
  gone = gone + redis.call('DEL', bundle)
  strike_off(evidence_index, evidence_sizes, bundle)
end
for _, index in ipairs(indexes) do gone = gone + redis.call('ZREM', index, bot_id) end
if is_undone and done ~= '' then table.insert(deliveries, 1, done) end
for _, delivery in ipairs(deliveries) do redis.call('XADD', outbox, '*', 'bot_id', bot_id, 'delivery', delivery) end
if #deliveries > 0 then redis.call('EXPIRE', outbox, STREAM_LIFE_S) end
note_action(actions, action)
return gone
