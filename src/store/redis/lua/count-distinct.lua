#!lua flags=allow-oom
-- Distinct members of small unions of set sketches.
--
-- KEYS   ((sketch)*)*
-- ARGV   unions (sketches)*
-- REPLY  a number each
--
-- Blocks the server for about 30 µs a dense sketch; the caller names 64 at most, and not more than 16 a union.

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
  counts[i] = #union == 0 and '0' or exact(redis.call('PFCOUNT', unpack(union)))
end
return counts
