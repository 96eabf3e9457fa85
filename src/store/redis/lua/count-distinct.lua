#!lua flags=allow-oom
-- Counts the distinct members of unions of a few set sketches.
--
-- KEYS   ((sketch)*)*
-- ARGV   unions (sketches)*
-- REPLY  per union: the number of distinct members
--
-- Blocks the server for about 30 µs per sketch of the maximum size. The caller sends at most 64 sketches, and at most
-- 16 per union.

local unions = {}
for i = 1, count('unions') do
  local union = {}
  for n = 1, count('sketches') do union[n] = key('sketch') end
  if #union > 16 then error('argument too large: sketches') end
  unions[i] = union
end
complete()
local counts = {}
for i, union in ipairs(unions) do
  counts[i] = #union == 0 and '0' or exactText(redis.call('PFCOUNT', unpack(union)))
end
return counts
