#!lua
-- Takes permits of a window of time.
--
-- KEYS   permits
-- ARGV   asked limit collectMs
-- REPLY  how many were granted, how many are left
--
-- Blocks the server for one read and one write.

local permits = key('permits')
local asked, limit, collectMs = count('asked'), count('limit'), count('collectMs')
complete()
if collectMs == 0 then error('argument not positive: collectMs') end
local taken = stored(redis.call('GET', permits))
local granted = math.min(asked, math.max(0, limit - taken))
if granted > 0 then redis.call('SET', permits, exact(taken + granted), 'PX', exact(collectMs)) end
return { exact(granted), exact(math.max(0, limit - taken - granted)) }
