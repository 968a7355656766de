-- A worker's new state (an empty record: forgotten) and what its agent is told of it, if anything. `stories` and
-- `entries`: the story of a bot that tells of it and what it tells, or none.
if worker == '' then redis.call('HDEL', workers, worker_id) else redis.call('HSET', workers, worker_id, worker) end
redis.call('EXPIRE', workers, VM_LIFE_S)
if message ~= '' then
  redis.call('XADD', commands, '*', 'm', message)
  redis.call('EXPIRE', commands, VM_LIFE_S)
end
for i, story in ipairs(stories) do
  if redis.call('EXISTS', story) == 1 then relate(story, entries[i]) end
end
return 1
