-- Keep what the scaling knows, for its next look and the next leader. Nothing is asked of a provider before this.
redis.call('HSET', scaling, unpack(fields))
redis.call('EXPIRE', scaling, SCALING_LIFE_S)
return 1
