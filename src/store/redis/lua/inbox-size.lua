#!lua flags=no-writes
-- Returns the number of entries and of bytes of the inbox of a partition, read in one step.
--
-- KEYS   inbox counters
-- ARGV   -
-- REPLY  entries, bytes
--
-- Blocks the server for two lookups.

local inbox, counters = key('inbox'), key('counters')
complete()
return { exact(redis.call('ZCARD', inbox)), exact(stored(redis.call('HGET', counters, 'bytes'))) }
