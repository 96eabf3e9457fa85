#!lua flags=allow-oom
-- Removes expired data of a partition: watermarks, markers, and those of the given blocks that `expiring` still has
-- with a time up to `nowMs`.
--
-- KEYS   watermarks writers markers expiring (scalars sketches)*
-- ARGV   nowMs watermarksBeforeMs markersBeforeMs max blocks (block)*
-- REPLY  number of removed watermarks, markers, blocks
--
-- Blocks the server for about a millisecond. `max` limits the watermarks and the markers that a call removes, and the
-- caller sends few blocks.

local watermarks, writers, markers, expiring = key('watermarks'), key('writers'), key('markers'), key('expiring')
local nowMs, watermarksBeforeMs, markersBeforeMs = integer('nowMs'), integer('watermarksBeforeMs'), integer('markersBeforeMs')
local max = count('max')
if max > UNPACKED_MAX then error('argument too large: max') end
local blocks = {}
for i = 1, count('blocks') do
  blocks[i] = { scalars = key('scalars'), sketches = key('sketches'), name = argument('block') }
end
complete()
redis.call('HLEN', watermarks)
redis.call('ZCARD', expiring)
local expiredWriters = redis.call('ZRANGEBYSCORE', writers, '-inf', exactText(watermarksBeforeMs), 'LIMIT', 0, exactText(max))
local expiredMarkers = redis.call('ZRANGEBYSCORE', markers, '-inf', exactText(markersBeforeMs), 'LIMIT', 0, exactText(max))
inChunks('HDEL', watermarks, expiredWriters)
inChunks('ZREM', writers, expiredWriters)
inChunks('ZREM', markers, expiredMarkers)
local removedBlockCount = 0
for _, block in ipairs(blocks) do
  local expiresMs = redis.call('ZSCORE', expiring, block.name)
  if expiresMs and tonumber(expiresMs) <= nowMs then
    redis.call('UNLINK', block.scalars, block.sketches)
    redis.call('ZREM', expiring, block.name)
    removedBlockCount = removedBlockCount + 1
  end
end
return { exactText(#expiredWriters), exactText(#expiredMarkers), exactText(removedBlockCount) }
