-- Write a worker's new record (empty: it is removed) and the order to its agent, if any. `stories` and `entries`: the story of
-- a bot and the entry to add, or none.
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
