#!lua flags=no-writes
-- Number of entries and bytes of the inbox of a partition, of one moment.
--
-- KEYS   inbox counters
-- ARGV   -
-- REPLY  entries, bytes
--
-- Blocks the server for two look-ups.

local inbox, counters = key('inbox'), key('counters')
complete()
return { exact(redis.call('ZCARD', inbox)), exact(stored(redis.call('HGET', counters, 'bytes'))) }
