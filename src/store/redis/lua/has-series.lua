#!lua flags=no-writes
-- Which series of a metric are registered.
--
-- KEYS   series
-- ARGV   asked (seriesId)*
-- REPLY  a digit for each: 1 or 0
--
-- Blocks the server for less than a millisecond: the caller asks for a thousand at most.

local series = key('series')
local found = {}
for i = 1, count('asked') do found[i] = redis.call('HEXISTS', series, argument('seriesId')) end
complete()
return table.concat(found)
