#!lua flags=allow-oom
-- Removes those of the given events that were committed at or before `committedByMs`. An event is the only member of
-- `events` in the range from `from` to `to`.
--
-- KEYS   eventAges (events)*
-- ARGV   committedByMs expiring (age from to)*
-- REPLY  number of removed events
--
-- Blocks the server for some microseconds per event. The caller sends at most 200.

local ages = key('eventAges')
local committedByMs = integer('committedByMs')
local expiring = {}
for i = 1, count('expiring') do
  expiring[i] = { events = key('events'), age = argument('age'), from = argument('from'), to = argument('to') }
end
complete()
redis.call('ZCARD', ages)
for _, event in ipairs(expiring) do redis.call('ZLEXCOUNT', event.events, event.from, event.to) end
local removedCount = 0
for _, event in ipairs(expiring) do
  local committedMs = redis.call('ZSCORE', ages, event.age)
  if committedMs and tonumber(committedMs) <= committedByMs then
    redis.call('ZREMRANGEBYLEX', event.events, event.from, event.to)
    redis.call('ZREM', ages, event.age)
    removedCount = removedCount + 1
  end
end
return exactText(removedCount)
