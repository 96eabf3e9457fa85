#!lua flags=allow-oom
-- Deletes the generations of a name up to `generation`.
--
-- KEYS   catalog names deleted metric counters dying
-- ARGV   channel sender name place metricId generation
-- REPLY  'deleted' when a metric was deleted, 'absent' when there was none, 'changed' with nothing done when the name
--        has another id than `metricId`
-- NOTE   `metricId` is the id that the caller found for the name, empty when there was none. `metric` is its row.
--
-- Blocks the server for some microseconds.

local catalog, names, deleted, metric = key('catalog'), key('names'), key('deleted'), key('metric')
local counters, dying = key('counters'), key('dying')
local channel, sender, name, place = argument('channel'), argument('sender'), argument('name'), argument('place')
local metricId = argument('metricId')
local generation = count('generation')
complete()
if (redis.call('HGET', catalog, name) or '') ~= metricId then return 'changed' end
local last = stored(redis.call('HGET', deleted, name))
local identity = redis.call('HGET', metric, 'is')
local order = stored(redis.call('HGET', counters, 'order'))
redis.call('HLEN', dying)
redis.call('ZCARD', names)
local isDeleted = false
if metricId ~= '' then
  if not identity then error('a name without a metric: ' .. name) end
  isDeleted = cjson.decode(identity)[4] <= generation
end
if generation > last then redis.call('HSET', deleted, name, exact(generation)) end
if not isDeleted then return 'absent' end
redis.call('HDEL', catalog, name)
redis.call('ZREM', names, place)
redis.call('DEL', metric)
redis.call('HSET', dying, metricId, exact(order))
-- `pcall`: a failed notification must not fail the deletion. Delivery is not guaranteed.
redis.pcall('SPUBLISH', channel, sender .. ' ' .. metricId)
return 'deleted'
