#!lua flags=no-writes
-- Rows of metrics of a partition, each whole.
--
-- KEYS   (catalog metric seriesOrder tagKeys)*
-- ARGV   metrics (name metricId)*
-- REPLY  per metric: nothing when the name is unknown; the id that stands for it when that is another; else
--        id, is, about, points, first, last, cumulative, number of series, tag keys
--
-- Blocks the server for some microseconds a metric; the caller sends a hundred at most.

local replies = {}
for i = 1, count('metrics') do
  local catalog, metric, order, tagKeys = key('catalog'), key('metric'), key('seriesOrder'), key('tagKeys')
  local name, id = argument('name'), argument('metricId')
  local standing = redis.call('HGET', catalog, name)
  local reply = { standing or nil }
  if standing == id then
    local row = redis.call('HMGET', metric, 'is', 'about', 'points', 'first', 'last', 'cumulative')
    for field = 1, 6 do reply[field + 1] = row[field] or '' end
    reply[8] = exact(redis.call('LLEN', order))
    for n, tagKey in ipairs(redis.call('SMEMBERS', tagKeys)) do reply[8 + n] = tagKey end
  end
  replies[i] = reply
end
complete()
return replies
