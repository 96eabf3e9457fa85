#!lua
-- Stores blocks that nothing lists yet. They go when `sweep` finds their time over, or by the server's own clock if nobody sweeps.
--
-- KEYS   expiring (scalars sketches)*
-- ARGV   expiresMs collectMs blocks (block scalarsValue hasSketches (sketchesValue)?)*
-- REPLY  'OK'
--
-- Blocks the server for copying the blocks: the caller sends some hundred kilobytes at a time, or one block.

local expiring = key('expiring')
local expiresMs, collectMs = integer('expiresMs'), count('collectMs')
local blocks = {}
for i = 1, count('blocks') do
  local block = { scalars = key('scalars'), sketches = key('sketches'), name = argument('block') }
  block.scalarsValue = argument('scalarsValue')
  if argument('hasSketches') == '1' then block.sketchesValue = argument('sketchesValue') end
  blocks[i] = block
end
complete()
if collectMs == 0 then error('argument not positive: collectMs') end
redis.call('ZCARD', expiring)
for _, block in ipairs(blocks) do
  redis.call('SET', block.scalars, block.scalarsValue, 'PX', exact(collectMs))
  if block.sketchesValue then redis.call('SET', block.sketches, block.sketchesValue, 'PX', exact(collectMs)) end
  redis.call('ZADD', expiring, exact(expiresMs), block.name)
end
return 'OK'
