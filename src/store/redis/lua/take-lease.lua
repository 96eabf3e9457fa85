#!lua flags=allow-oom
-- Takes or extends the lease for folding a partition. A `leaseMs` of 0 releases it.
--
-- KEYS   lease
-- ARGV   holder leaseMs
-- REPLY  1 when the holder took, extended or released the lease, 0 when another holder has it
--
-- Blocks the server for one read and one write.

local lease = key('lease')
local holder, leaseMs = argument('holder'), count('leaseMs')
complete()
local currentHolder = redis.call('GET', lease)
if currentHolder and currentHolder ~= holder then return 0 end
if leaseMs == 0 then
  redis.call('DEL', lease)
else
  redis.call('SET', lease, holder, 'PX', exactText(leaseMs))
end
return 1
