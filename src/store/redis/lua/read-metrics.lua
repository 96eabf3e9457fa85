#!lua flags=no-writes
-- Returns the rows of several metrics of a partition.
--
-- KEYS   (catalog metric seriesOrder tagKeys)*
-- ARGV   metrics (name metricId)*
-- REPLY  per metric: nothing when the name is unknown; only its id when that is not `metricId`, or when the call has
--        already read 10,000 tag keys; otherwise id, is, about, points, first, last, cumulative, number of series, tag
--        keys
--
-- Blocks the server for some microseconds per metric and about 0.2 µs per tag key. The caller sends at most a hundred
-- metrics. It asks again for those for which the reply has only the id.

local TAG_KEYS_MAX = 10000
local replies, tagKeysRead = {}, 0
for i = 1, count('metrics') do
  local catalog, metric, order, tagKeys = key('catalog'), key('metric'), key('seriesOrder'), key('tagKeys')
  local name, id = argument('name'), argument('metricId')
  local existing = redis.call('HGET', catalog, name)
  local reply = { existing or nil }
  if existing == id and tagKeysRead < TAG_KEYS_MAX then
    local row = redis.call('HMGET', metric, 'is', 'about', 'points', 'first', 'last', 'cumulative')
    for field = 1, 6 do reply[field + 1] = row[field] or '' end
    reply[8] = exactText(redis.call('LLEN', order))
    for n, tagKey in ipairs(redis.call('SMEMBERS', tagKeys)) do reply[8 + n] = tagKey end
    tagKeysRead = tagKeysRead + #reply - 8
  end
  replies[i] = reply
end
complete()
return replies
