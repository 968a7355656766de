-- Who did what goes into the stream of actions, in the step that does it. `action`: its fields, none where nobody is to be
-- named.
local function note_action(actions, action)
  if #action == 0 then return end
  redis.call('XADD', actions, 'MAXLEN', '~', ACTIONS_KEPT, '*', unpack(action))
  redis.call('EXPIRE', actions, ACTIONS_LIFE_S)
end
