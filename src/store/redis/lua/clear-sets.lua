#!lua flags=allow-oom
-- Deletes some of the set sketches of an expired window, whose names `expire-window.lua` has moved to `setsToDelete`.
-- If none remain, removes the window from `windowsWithSetsToDelete`.
--
-- KEYS   setsToDelete windowsWithSetsToDelete (sketch)*
-- ARGV   windowName sketches (sketchName)*
-- REPLY  number of sketches that remain
--
-- Blocks the server for about 2 µs per sketch; the caller names at most 500.

local setsToDelete, windowsWithSetsToDelete = key('setsToDelete'), key('windowsWithSetsToDelete')
local windowName = argument('windowName')
local sketches = {}
for i = 1, count('sketches') do sketches[i] = { key = key('sketch'), name = argument('sketchName') } end
complete()
local remaining = redis.call('SCARD', setsToDelete)
redis.call('SCARD', windowsWithSetsToDelete)
for _, sketch in ipairs(sketches) do
  -- If the name of a sketch is not in `setsToDelete` any more, the sketch is already deleted, and one with this key is
  -- new: it has later members and must stay.
  if redis.call('SREM', setsToDelete, sketch.name) == 1 then
    redis.call('UNLINK', sketch.key)
    remaining = remaining - 1
  end
end
if remaining == 0 then redis.call('SREM', windowsWithSetsToDelete, windowName) end
return exactText(remaining)
