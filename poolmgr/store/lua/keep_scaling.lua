-- Keep the state of the scaling, for its next look and the next leader. It is written before each request to a
-- provider.
redis.call('HSET', scaling, unpack(fields))
redis.call('EXPIRE', scaling, SCALING_LIFE_S)
return 1
