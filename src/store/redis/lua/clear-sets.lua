#!lua flags=allow-oom
-- Deletes some of the set sketches of a window that has expired.
--
-- KEYS   condemned condemnedWindows (sketch)*
-- ARGV   windowName sketches (setName)*
-- REPLY  how many are left
--
-- Blocks the server for about 2 µs a sketch; the caller names some hundred.

local condemned, condemnedWindows = key('condemned'), key('condemnedWindows')
local windowName = argument('windowName')
local sketches = {}
for i = 1, count('sketches') do sketches[i] = { key = key('sketch'), name = argument('setName') } end
complete()
local left = redis.call('SCARD', condemned)
redis.call('SCARD', condemnedWindows)
for _, sketch in ipairs(sketches) do
  -- One that is no longer condemned has been begun anew.
  if redis.call('SREM', condemned, sketch.name) == 1 then
    redis.call('UNLINK', sketch.key)
    left = left - 1
  end
end
if left == 0 then redis.call('SREM', condemnedWindows, windowName) end
return exact(left)
