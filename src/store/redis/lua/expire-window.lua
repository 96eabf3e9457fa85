#!lua flags=allow-oom
-- Removes a window from the index, unless the window now expires after `dueByMs`. Moves the names of its set sketches
-- to `setsToDelete`: `clear-sets.lua` then deletes these sketches, at most some hundred per call.
--
-- KEYS   due timeline expired expiring extra sketchNames setsToDelete windowsWithSetsToDelete
--        (scalars sketches)* (dropped)*
-- ARGV   window windowName windowMs widthMs dueByMs unlistedUntilMs ttlMs record entries (member block)* droppedCount
-- REPLY  'expired'; 'kept' when the window expires after `dueByMs`; 'changed' when its entries are not the given ones;
--        'unfinished' when `setsToDelete` has names from an earlier expiry. All but 'expired' change nothing.
-- NOTE   If `record` is '1', the window is added to `expired`, the expired stretches of time of the timeline. From each
--        key in `dropped` (expired stretches of a finer resolution), the parts in the window are removed.
--
-- Blocks the server for some microseconds per entry. A window has few entries, because its runs are merged.

local due, timeline, expired, expiring, extra = key('due'), key('timeline'), key('expired'), key('expiring'), key('extra')
local sketchNames, setsToDelete = key('sketchNames'), key('setsToDelete')
local windowsWithSetsToDelete = key('windowsWithSetsToDelete')
local window, windowName = argument('window'), argument('windowName')
local windowMs, widthMs, dueByMs = integer('windowMs'), count('widthMs'), integer('dueByMs')
local unlistedUntilMs, ttlMs = integer('unlistedUntilMs'), count('ttlMs')
local isRecorded = argument('record') == '1'
local entries, dropped = {}, {}
for i = 1, count('entries') do
  entries[i] = {
    scalars = key('scalars'),
    sketches = key('sketches'),
    member = argument('member'),
    block = argument('block'),
  }
end
for i = 1, count('droppedCount') do dropped[i] = key('dropped') end
complete()
if ttlMs == 0 then error('argument not positive: ttlMs') end

local from, to = windowMs, windowMs + widthMs
local expiresMs = redis.call('ZSCORE', due, window)
if expiresMs and storedNumber(expiresMs) > dueByMs then return 'kept' end
if redis.call('ZCOUNT', timeline, exactText(windowMs), exactText(windowMs)) ~= #entries then return 'changed' end
for _, entry in ipairs(entries) do
  local listedMs = redis.call('ZSCORE', timeline, entry.member)
  if not listedMs or storedNumber(listedMs) ~= windowMs then return 'changed' end
  storedCount(redis.call('HGET', extra, entry.block))
end
if redis.call('SCARD', setsToDelete) > 0 then return 'unfinished' end
redis.call('ZCARD', expiring)
local hasSets = redis.call('SCARD', sketchNames) > 0
redis.call('SCARD', windowsWithSetsToDelete)

-- Returns the stretches with their start and end.
local function parsedStretches(members)
  local stretches = {}
  for i, member in ipairs(members) do
    local first, last = stretchOf(member)
    stretches[i] = { member = member, from = first, to = last }
  end
  return stretches
end

-- Expired stretches that touch each other are stored as one.
local touching = parsedStretches(stretchesOverlapping(expired, from - 1, to + 1))
local droppedStretches = {}
for i, name in ipairs(dropped) do droppedStretches[i] = parsedStretches(stretchesOverlapping(name, from, to)) end

for _, entry in ipairs(entries) do
  redis.call('ZREM', timeline, entry.member)
  if removeListing(extra, entry.block) then
    redis.call('ZADD', expiring, exactText(unlistedUntilMs), entry.block)
    redis.call('PEXPIRE', entry.scalars, exactText(ttlMs))
    redis.call('PEXPIRE', entry.sketches, exactText(ttlMs))
  end
end
redis.call('ZREM', due, window)
if hasSets then
  redis.call('RENAME', sketchNames, setsToDelete)
  redis.call('SADD', windowsWithSetsToDelete, windowName)
end
if isRecorded then
  for _, stretch in ipairs(touching) do
    from, to = math.min(from, stretch.from), math.max(to, stretch.to)
    redis.call('ZREM', expired, stretch.member)
  end
  redis.call('ZADD', expired, exactText(from), exactText(from) .. ' ' .. exactText(to))
end
for i, name in ipairs(dropped) do
  for _, stretch in ipairs(droppedStretches[i]) do
    local first, last = stretch.from, stretch.to
    redis.call('ZREM', name, stretch.member)
    if first < from then redis.call('ZADD', name, exactText(first), exactText(first) .. ' ' .. exactText(from)) end
    if last > to then redis.call('ZADD', name, exactText(to), exactText(to) .. ' ' .. exactText(last)) end
  end
end
return 'expired'
