-- Take a vm_id if `before` still says who uses it; empty: nobody. Answers 1: taken; 0: another agent has taken it meanwhile,
-- and nothing has changed.
if (redis.call('GET', alive) or '') ~= before then return 0 end
redis.call('SET', alive, presence, 'EX', ALIVE_S)
return 1
