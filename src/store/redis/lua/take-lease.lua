#!lua flags=allow-oom
-- Takes or prolongs the lease of a partition's fold; a lease of no time gives it up.
--
-- KEYS   lease
-- ARGV   holder leaseMs
-- REPLY  1 if the holder has it now, or gave it up, 0 if another has it
--
-- Blocks the server for one read and one write.

local lease = key('lease')
local holder, leaseMs = argument('holder'), count('leaseMs')
complete()
local standing = redis.call('GET', lease)
if standing and standing ~= holder then return 0 end
if leaseMs == 0 then
  redis.call('DEL', lease)
else
  redis.call('SET', lease, holder, 'PX', exact(leaseMs))
end
return 1
