#!lua flags=allow-oom
-- Ends the generations of a name up to one.
--
-- KEYS   catalog names deleted metric counters dying
-- ARGV   channel sender name place standing generation
-- REPLY  'gone' when a metric went, 'absent' when none did, 'changed' with nothing done when another id stands for the name than
--        `standing`, of which `metric` is the row; none stands where it is empty
--
-- Blocks the server for some microseconds.

local catalog, names, deleted, metric = key('catalog'), key('names'), key('deleted'), key('metric')
local counters, dying = key('counters'), key('dying')
local channel, sender, name, place = argument('channel'), argument('sender'), argument('name'), argument('place')
local standing = argument('standing')
local generation = count('generation')
complete()
if (redis.call('HGET', catalog, name) or '') ~= standing then return 'changed' end
local last = stored(redis.call('HGET', deleted, name))
local identity = redis.call('HGET', metric, 'is')
local order = stored(redis.call('HGET', counters, 'order'))
redis.call('HLEN', dying)
redis.call('ZCARD', names)
local goes = false
if standing ~= '' then
  if not identity then error('a name without a metric: ' .. name) end
  goes = cjson.decode(identity)[4] <= generation
end
if generation > last then redis.call('HSET', deleted, name, exact(generation)) end
if not goes then return 'absent' end
redis.call('HDEL', catalog, name)
redis.call('ZREM', names, place)
redis.call('DEL', metric)
redis.call('HSET', dying, standing, exact(order))
-- Nobody is promised to hear of it.
redis.pcall('SPUBLISH', channel, sender .. ' ' .. standing)
return 'gone'
