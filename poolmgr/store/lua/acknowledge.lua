-- Entries of a stream that need not be read again: what came of them is durable. A leader that was replaced has read what
-- the one after it has to, and acknowledges nothing of it.
-- KEYS: epoch, stream. ARGV: epoch, group, '1' if they are to be deleted, too, then the entry ids.
redis.call('XACK', KEYS[2], ARGV[2], unpack(rest(4)))
if ARGV[3] == '1' then redis.call('XDEL', KEYS[2], unpack(rest(4))) end
return 1
