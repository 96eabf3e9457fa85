#!lua flags=allow-oom
-- Replaces inbox and index entries by new ones, all at once.
--
-- A block is held by each entry that lists it, in the inbox or in a window. The first hold is that it is not in `expiring`; further
-- ones are counted in `extra`. When the last hold goes it is expiring: readable for another minute.
--
-- KEYS   inbox counters due expiring extra
--        (removedTimeline removedScalars removedSketches)* (addedTimeline addedExpired addedScalars addedSketches)*
--        (touchedTimeline)* (leftScalars leftSketches)*
-- ARGV   looseMs collectMs inboxEntries (order inboxMember inboxBlock inboxBytes)*
--        removed (removedWindow removedWindowMs removedMember removedBlock)*
--        added (addedWindow addedWindowMs widthMs addedMember addedBlock)*
--        touched (touchedWindow touchedWindowMs expiresMs)* left (leftOrder leftMember leftBlock leftBytes)*
-- REPLY  'folded', or 'refused' with nothing changed
-- NOTE   What is left takes the place of an inbox entry that is replaced.
--
-- Blocks the server for about 5 µs an entry of the inbox and 30 µs one of a timeline. A fold takes about a megabyte of inbox, which
-- may be thousands of small entries: they are worked on by the thousand, and get no time limit of the server's own as other
-- blocks do that nothing lists any more. A merge takes one window.

local inbox, counters, due = key('inbox'), key('counters'), key('due')
local expiring, extra = key('expiring'), key('extra')
local looseMs, collectMs = integer('looseMs'), count('collectMs')
local taken = { orders = {}, members = {}, blocks = {}, bytes = 0 }
for i = 1, count('inboxEntries') do
  taken.orders[i] = integer('order')
  taken.members[i] = argument('inboxMember')
  taken.blocks[i] = argument('inboxBlock')
  taken.bytes = taken.bytes + count('inboxBytes')
end
local removed, added, touched = {}, {}, {}
for i = 1, count('removed') do
  removed[i] = {
    timeline = key('removedTimeline'),
    scalars = key('removedScalars'),
    sketches = key('removedSketches'),
    window = argument('removedWindow'),
    windowMs = integer('removedWindowMs'),
    member = argument('removedMember'),
    block = argument('removedBlock'),
  }
end
for i = 1, count('added') do
  added[i] = {
    timeline = key('addedTimeline'),
    expired = key('addedExpired'),
    scalars = key('addedScalars'),
    sketches = key('addedSketches'),
    window = argument('addedWindow'),
    windowMs = integer('addedWindowMs'),
    widthMs = count('widthMs'),
    member = argument('addedMember'),
    block = argument('addedBlock'),
  }
end
for i = 1, count('touched') do
  touched[i] = {
    timeline = key('touchedTimeline'),
    window = argument('touchedWindow'),
    windowMs = integer('touchedWindowMs'),
    expiresMs = integer('expiresMs'),
  }
end
local left = {}
for i = 1, count('left') do
  left[i] = {
    scalars = key('leftScalars'),
    sketches = key('leftSketches'),
    order = integer('leftOrder'),
    member = argument('leftMember'),
    block = argument('leftBlock'),
    bytes = count('leftBytes'),
  }
end
complete()
if collectMs == 0 then error('argument not positive: collectMs') end

redis.call('ZCARD', inbox)
redis.call('ZCARD', expiring)
redis.call('ZCARD', due)
local bytes = stored(redis.call('HGET', counters, 'bytes'))

local seen = {}
for _, member in ipairs(taken.members) do
  if seen[member] then error('inbox entry named twice: ' .. member) end
  seen[member] = true
end
local orders = answersOf('ZMSCORE', inbox, taken.members)
for i, order in ipairs(taken.orders) do
  if not orders[i] or stored(orders[i]) ~= order then return 'refused' end
end
for _, more in ipairs(answersOf('HMGET', extra, taken.blocks)) do stored(more) end
for _, entry in ipairs(removed) do
  local id = entry.timeline .. ' ' .. entry.member
  if seen[id] then error('index entry removed twice: ' .. id) end
  seen[id] = true
  local windowMs = redis.call('ZSCORE', entry.timeline, entry.member)
  if not windowMs or stored(windowMs) ~= entry.windowMs then return 'refused' end
  stored(redis.call('HGET', extra, entry.block))
end
for _, entry in ipairs(added) do
  redis.call('ZCARD', entry.timeline)
  stored(redis.call('HGET', extra, entry.block))
  if redis.call('EXISTS', entry.scalars) == 0 then return 'refused' end
  if #stretchesWithin(entry.expired, entry.windowMs, entry.windowMs + entry.widthMs) > 0 then return 'refused' end
end
for _, entry in ipairs(left) do
  if redis.call('EXISTS', entry.scalars) == 0 then return 'refused' end
  stored(redis.call('HGET', extra, entry.block))
end
local windows, isTouched = {}, {}
for _, window in ipairs(touched) do
  redis.call('ZCARD', window.timeline)
  windows[window.window] = window
  isTouched[window.window] = true
end
for _, entry in ipairs(removed) do windows[entry.window] = windows[entry.window] or entry end
for _, entry in ipairs(added) do
  windows[entry.window] = windows[entry.window] or entry
  if not isTouched[entry.window] and not redis.call('ZSCORE', due, entry.window) then
    error('a window begins that nobody touched: ' .. entry.window)
  end
end
redis.call('HLEN', extra)

local loose = {}
local function hold(entry)
  if redis.call('ZREM', expiring, entry.block) == 1 then
    redis.call('PERSIST', entry.scalars)
    redis.call('PERSIST', entry.sketches)
  else
    redis.call('HINCRBY', extra, entry.block, 1)
  end
end
local function letGo(entry)
  local more = stored(redis.call('HGET', extra, entry.block))
  if more > 1 then
    redis.call('HINCRBY', extra, entry.block, -1)
  elseif more == 1 then
    redis.call('HDEL', extra, entry.block)
  else
    loose[entry.block] = entry
  end
end

for _, entry in ipairs(added) do hold(entry) end
for _, entry in ipairs(removed) do
  redis.call('ZREM', entry.timeline, entry.member)
  letGo(entry)
end
-- After the removals, so that an entry that is both removed and added stays.
for _, entry in ipairs(added) do
  redis.call('ZADD', entry.timeline, exact(entry.windowMs), entry.member)
end
inChunks('ZREM', inbox, taken.members)
for _, entry in ipairs(left) do
  hold(entry)
  redis.call('ZADD', inbox, exact(entry.order), entry.member)
  bytes = bytes + entry.bytes
end
local looseBlocks = {}
-- Asked again: one that was added above is held by that entry from now on.
for i, more in ipairs(answersOf('HMGET', extra, taken.blocks)) do
  if more then
    letGo({ block = taken.blocks[i] })
  else
    looseBlocks[#looseBlocks + 1] = exact(looseMs)
    looseBlocks[#looseBlocks + 1] = taken.blocks[i]
  end
end
inChunks('ZADD', expiring, looseBlocks)
if #taken.members > 0 then redis.call('HSET', counters, 'bytes', exact(bytes - taken.bytes)) end
for block, entry in pairs(loose) do
  redis.call('ZADD', expiring, exact(looseMs), block)
  redis.call('PEXPIRE', entry.scalars, exact(collectMs))
  redis.call('PEXPIRE', entry.sketches, exact(collectMs))
end
for _, window in ipairs(touched) do
  redis.call('ZADD', due, 'GT', exact(window.expiresMs), window.window)
end
for name, window in pairs(windows) do
  local windowMs = exact(window.windowMs)
  if redis.call('ZCOUNT', window.timeline, windowMs, windowMs) == 0 then redis.call('ZREM', due, name) end
end
return 'folded'
