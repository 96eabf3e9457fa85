#!lua
-- Takes at most `wanted` permits of a rate limit. The key `permits` counts the permits taken in one time window.
--
-- KEYS   permits
-- ARGV   wanted limit ttlMs
-- REPLY  number of granted permits, number of permits left
--
-- Blocks the server for one read and one write.

local permits = key('permits')
local wanted, limit, ttlMs = count('wanted'), count('limit'), count('ttlMs')
complete()
if ttlMs == 0 then error('argument not positive: ttlMs') end
local taken = storedNumber(redis.call('GET', permits))
local granted = math.min(wanted, math.max(0, limit - taken))
if granted > 0 then redis.call('SET', permits, exactText(taken + granted), 'PX', exactText(ttlMs)) end
return { exactText(granted), exactText(math.max(0, limit - taken - granted)) }
