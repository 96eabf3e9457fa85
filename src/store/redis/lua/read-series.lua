#!lua flags=no-writes
-- Returns a page of the series of a metric, in the order they were registered.
--
-- KEYS   seriesOrder series
-- ARGV   cursor limit
-- REPLY  'found', then per series: id, tags; or 'beyond' when the cursor lies beyond the end
--
-- Blocks the server for less than a millisecond, because a page has at most a thousand series.

local order, series = key('seriesOrder'), key('series')
local cursor, limit = count('cursor'), count('limit')
complete()
if limit > UNPACKED_MAX then error('argument too large: limit') end
if redis.call('LLEN', order) < cursor then return { 'beyond' } end
local reply = { 'found' }
if limit == 0 then return reply end
local ids = redis.call('LRANGE', order, exactText(cursor), exactText(cursor + limit - 1))
if #ids == 0 then return reply end
local tags = redis.call('HMGET', series, unpack(ids))
for i, id in ipairs(ids) do
  reply[2 * i] = id
  reply[2 * i + 1] = tags[i] or error('series without tags: ' .. id)
end
return reply
