#!lua
-- Stores blocks before a fold or merge adds the entries that list them. If no entry is added, `sweep` removes the
-- blocks after `expiresMs`. If no gateway runs, the server removes them after `ttlMs`.
--
-- KEYS   expiring (scalars sketches)*
-- ARGV   expiresMs ttlMs blocks (block scalarsValue hasSketches (sketchesValue)?)*
-- REPLY  'OK'
--
-- Blocks the server while it copies the blocks. The caller sends at most 256 KiB at a time, or one larger block.

local expiring = key('expiring')
local expiresMs, ttlMs = integer('expiresMs'), count('ttlMs')
local blocks = {}
for i = 1, count('blocks') do
  local block = { scalars = key('scalars'), sketches = key('sketches'), name = argument('block') }
  block.scalarsValue = argument('scalarsValue')
  if argument('hasSketches') == '1' then block.sketchesValue = argument('sketchesValue') end
  blocks[i] = block
end
complete()
if ttlMs == 0 then error('argument not positive: ttlMs') end
redis.call('ZCARD', expiring)
for _, block in ipairs(blocks) do
  redis.call('SET', block.scalars, block.scalarsValue, 'PX', exactText(ttlMs))
  if block.sketchesValue then redis.call('SET', block.sketches, block.sketchesValue, 'PX', exactText(ttlMs)) end
  redis.call('ZADD', expiring, exactText(expiresMs), block.name)
end
return 'OK'
