-- Acknowledge entries of a stream whose consequences are durable. A leader that was replaced acknowledges nothing: its
-- successor has to read these entries.
redis.call('XACK', stream, group, unpack(entry_ids))
if is_to_be_deleted then redis.call('XDEL', stream, unpack(entry_ids)) end
return 1
