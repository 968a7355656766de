-- Add who did what to the stream of actions, in the step that does it. `action`: the entry's fields; empty: no entry.
local function note_action(actions, action)
  if #action == 0 then return end
  redis.call('XADD', actions, 'MAXLEN', '~', ACTIONS_KEPT, '*', unpack(action))
  redis.call('EXPIRE', actions, ACTIONS_LIFE_S)
end
