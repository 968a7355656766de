-- Entries of a stream that need not be read again: what came of them is durable. A leader that was replaced has read what
-- the one after it has to, and acknowledges nothing of it.
redis.call('XACK', stream, group, unpack(entry_ids))
if is_to_be_deleted then redis.call('XDEL', stream, unpack(entry_ids)) end
return 1
