#!lua flags=no-writes
-- Returns for each wanted series of a metric whether it is registered.
--
-- KEYS   series
-- ARGV   wanted (seriesId)*
-- REPLY  a string with a digit per series: 1 or 0
--
-- Blocks the server for less than a millisecond. The caller sends at most a thousand ids.

local series = key('series')
local digits = {}
for i = 1, count('wanted') do digits[i] = redis.call('HEXISTS', series, argument('seriesId')) end
complete()
return table.concat(digits)
