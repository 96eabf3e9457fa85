#!lua flags=allow-oom
-- Deletes the generations of a name up to `generation`, and records this generation as deleted even if there was none.
--
-- KEYS   catalog names deleted metric counters metricsToRemove
-- ARGV   channel sender name sortKey metricId generation
-- REPLY  'deleted' when a metric was deleted, 'absent' when there was none of these generations, 'changed' with nothing
--        done when the name has another id than `metricId`
-- NOTE   `metricId` is the id that the caller has read for the name, empty when there was none. `metric` is the key of
--        its row.
--
-- Blocks the server for some microseconds.

local catalog, names, deleted, metric = key('catalog'), key('names'), key('deleted'), key('metric')
local counters, metricsToRemove = key('counters'), key('metricsToRemove')
local channel, sender, name, sortKey = argument('channel'), argument('sender'), argument('name'), argument('sortKey')
local metricId = argument('metricId')
local generation = count('generation')
complete()
if (redis.call('HGET', catalog, name) or '') ~= metricId then return 'changed' end
local lastDeleted = storedNumber(redis.call('HGET', deleted, name))
local identity = redis.call('HGET', metric, 'is')
local newestOrder = storedNumber(redis.call('HGET', counters, 'order'))
redis.call('HLEN', metricsToRemove)
redis.call('ZCARD', names)
local isDeleted = false
if metricId ~= '' then
  if not identity then error('a name without a metric: ' .. name) end
  isDeleted = cjson.decode(identity)[4] <= generation
end
if generation > lastDeleted then redis.call('HSET', deleted, name, exactText(generation)) end
if not isDeleted then return 'absent' end
redis.call('HDEL', catalog, name)
redis.call('ZREM', names, sortKey)
redis.call('DEL', metric)
redis.call('HSET', metricsToRemove, metricId, exactText(newestOrder))
-- `pcall`: a failed notification must not fail the deletion. Delivery is not guaranteed.
redis.pcall('SPUBLISH', channel, sender .. ' ' .. metricId)
return 'deleted'
