#!lua flags=no-writes
-- Returns the number of entries in the inbox of a partition, and the bytes of their blocks.
--
-- KEYS   inbox counters
-- ARGV   -
-- REPLY  entries, bytes
--
-- Blocks the server for two lookups.

local inbox, counters = key('inbox'), key('counters')
complete()
return { exactText(redis.call('ZCARD', inbox)), exactText(storedNumber(redis.call('HGET', counters, 'bytes'))) }
