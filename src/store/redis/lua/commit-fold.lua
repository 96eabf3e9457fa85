#!lua flags=allow-oom
-- Replaces inbox and index entries by new ones in one step.
--
-- Inbox and index entries list blocks. `expiring` has the blocks that no entry lists. All other blocks are listed by at
-- least one entry; `extra` has the number of entries minus 1 if that is not 0. When the last entry of a block is
-- removed, the block is added to `expiring`, and can be read at least until `unlistedUntilMs`.
--
-- KEYS   inbox counters due expiring extra
--        (removedTimeline removedScalars removedSketches)* (addedTimeline addedExpired addedScalars addedSketches)*
--        (touchedTimeline)* (restScalars restSketches)*
-- ARGV   unlistedUntilMs ttlMs inboxEntries (order inboxMember inboxBlock inboxBytes)*
--        removed (removedWindow removedWindowMs removedMember removedBlock)*
--        added (addedWindow addedWindowMs widthMs addedMember addedBlock)*
--        touched (touchedWindow touchedWindowMs expiresMs)* rests (restOrder restMember restBlock restBytes)*
-- REPLY  'folded', or 'refused' with nothing changed
-- NOTE   A rest is a block with rows of the removed inbox entries that were not folded. Its entry has the order of one
--        of the removed inbox entries.
--
-- Blocks the server for about 5 µs per inbox entry and 30 µs per index entry. A fold takes up to about a megabyte of
-- inbox, which may be thousands of small entries. To save time, inbox entries are processed in chunks of a thousand,
-- and PEXPIRE is not called for their blocks: `sweep` removes them. A merge takes one window.

local inbox, counters, due = key('inbox'), key('counters'), key('due')
local expiring, extra = key('expiring'), key('extra')
local unlistedUntilMs, ttlMs = integer('unlistedUntilMs'), count('ttlMs')
local folded = { orders = {}, members = {}, blocks = {}, bytes = 0 }
for i = 1, count('inboxEntries') do
  folded.orders[i] = integer('order')
  folded.members[i] = argument('inboxMember')
  folded.blocks[i] = argument('inboxBlock')
  folded.bytes = folded.bytes + count('inboxBytes')
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
local rests = {}
for i = 1, count('rests') do
  rests[i] = {
    scalars = key('restScalars'),
    sketches = key('restSketches'),
    order = integer('restOrder'),
    member = argument('restMember'),
    block = argument('restBlock'),
    bytes = count('restBytes'),
  }
end
complete()
if ttlMs == 0 then error('argument not positive: ttlMs') end

redis.call('ZCARD', inbox)
redis.call('ZCARD', expiring)
redis.call('ZCARD', due)
local bytes = storedNumber(redis.call('HGET', counters, 'bytes'))

local seenIds = {}
for _, member in ipairs(folded.members) do
  if seenIds[member] then error('inbox entry named twice: ' .. member) end
  seenIds[member] = true
end
local orders = repliesFor('ZMSCORE', inbox, folded.members)
for i, order in ipairs(folded.orders) do
  if not orders[i] or storedNumber(orders[i]) ~= order then return 'refused' end
end
for _, extraCount in ipairs(repliesFor('HMGET', extra, folded.blocks)) do storedCount(extraCount) end
for _, entry in ipairs(removed) do
  local id = entry.timeline .. ' ' .. entry.member
  if seenIds[id] then error('index entry removed twice: ' .. id) end
  seenIds[id] = true
  local windowMs = redis.call('ZSCORE', entry.timeline, entry.member)
  if not windowMs or storedNumber(windowMs) ~= entry.windowMs then return 'refused' end
  storedCount(redis.call('HGET', extra, entry.block))
end
for _, entry in ipairs(added) do
  redis.call('ZCARD', entry.timeline)
  storedCount(redis.call('HGET', extra, entry.block))
  if redis.call('EXISTS', entry.scalars) == 0 then return 'refused' end
  if #stretchesOverlapping(entry.expired, entry.windowMs, entry.windowMs + entry.widthMs) > 0 then return 'refused' end
end
for _, entry in ipairs(rests) do
  if redis.call('EXISTS', entry.scalars) == 0 then return 'refused' end
  storedCount(redis.call('HGET', extra, entry.block))
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
    error('a new window is not touched: ' .. entry.window)
  end
end
redis.call('HLEN', extra)

local unlistedEntries = {}
-- Records that one entry more lists a block.
local function addListing(entry)
  if redis.call('ZREM', expiring, entry.block) == 1 then
    redis.call('PERSIST', entry.scalars)
    redis.call('PERSIST', entry.sketches)
  else
    redis.call('HINCRBY', extra, entry.block, 1)
  end
end

for _, entry in ipairs(added) do addListing(entry) end
for _, entry in ipairs(removed) do
  redis.call('ZREM', entry.timeline, entry.member)
  if removeListing(extra, entry.block) then unlistedEntries[entry.block] = entry end
end
-- Entries are added after others are removed, so that an entry that is both removed and added exists afterwards.
for _, entry in ipairs(added) do
  redis.call('ZADD', entry.timeline, exactText(entry.windowMs), entry.member)
end
inChunks('ZREM', inbox, folded.members)
for _, entry in ipairs(rests) do
  addListing(entry)
  redis.call('ZADD', inbox, exactText(entry.order), entry.member)
  bytes = bytes + entry.bytes
end
local expiringPairs = {}
-- Reads `extra` again, because the entries added or removed above may list the block of a folded inbox entry.
for i, extraCount in ipairs(repliesFor('HMGET', extra, folded.blocks)) do
  if extraCount then
    removeListing(extra, folded.blocks[i])
  else
    expiringPairs[#expiringPairs + 1] = exactText(unlistedUntilMs)
    expiringPairs[#expiringPairs + 1] = folded.blocks[i]
  end
end
inChunks('ZADD', expiring, expiringPairs)
if #folded.members > 0 then redis.call('HSET', counters, 'bytes', exactText(bytes - folded.bytes)) end
for block, entry in pairs(unlistedEntries) do
  redis.call('ZADD', expiring, exactText(unlistedUntilMs), block)
  redis.call('PEXPIRE', entry.scalars, exactText(ttlMs))
  redis.call('PEXPIRE', entry.sketches, exactText(ttlMs))
end
for _, window in ipairs(touched) do
  redis.call('ZADD', due, 'GT', exactText(window.expiresMs), window.window)
end
for name, window in pairs(windows) do
  local windowMs = exactText(window.windowMs)
  if redis.call('ZCOUNT', window.timeline, windowMs, windowMs) == 0 then redis.call('ZREM', due, name) end
end
return 'folded'
