#!lua flags=no-writes
-- Rows of metrics of a partition.
--
-- KEYS   (catalog metric seriesOrder tagKeys)*
-- ARGV   metrics (name metricId)*
-- REPLY  per metric: nothing when the name is unknown; only its id when that is not `metricId`; otherwise id, is, about, points, first,
--        last, cumulative, number of series, tag keys
--
-- Blocks the server for some microseconds per metric and about 0.2 µs per tag key; the caller sends at most a hundred metrics.

local replies = {}
for i = 1, count('metrics') do
  local catalog, metric, order, tagKeys = key('catalog'), key('metric'), key('seriesOrder'), key('tagKeys')
  local name, id = argument('name'), argument('metricId')
  local existing = redis.call('HGET', catalog, name)
  local reply = { existing or nil }
  if existing == id then
    local row = redis.call('HMGET', metric, 'is', 'about', 'points', 'first', 'last', 'cumulative')
    for field = 1, 6 do reply[field + 1] = row[field] or '' end
    reply[8] = exact(redis.call('LLEN', order))
    for n, tagKey in ipairs(redis.call('SMEMBERS', tagKeys)) do reply[8 + n] = tagKey end
  end
  replies[i] = reply
end
complete()
return replies
