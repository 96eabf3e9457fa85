#!lua
-- Keeps the first receipt of an idempotency key, and of a project's receipts the newest ones.
--
-- KEYS   receipts receiptAges
-- ARGV   digest nowMs keptMs receiptsMax collectMs receipt
-- REPLY  the receipt that stands
--
-- Blocks the server for some microseconds: what is outdated or too many goes a hundred at a time.

local receipts, ages = key('receipts'), key('receiptAges')
local digest, nowMs, keptMs = argument('digest'), integer('nowMs'), count('keptMs')
local receiptsMax, collectMs, receipt = count('receiptsMax'), count('collectMs'), argument('receipt')
complete()
if collectMs == 0 then error('argument not positive: collectMs') end
local standing = redis.call('HGET', receipts, digest)
local writtenMs = redis.call('ZSCORE', ages, digest)
if standing and writtenMs and stored(writtenMs) + keptMs > nowMs then return standing end

local REMOVED_MAX = 100
redis.call('HSET', receipts, digest, receipt)
redis.call('ZADD', ages, exact(nowMs), digest)
local outdated = redis.call('ZRANGEBYSCORE', ages, '-inf', exact(nowMs - keptMs), 'LIMIT', 0, REMOVED_MAX)
inChunks('HDEL', receipts, outdated)
inChunks('ZREM', ages, outdated)
local excess = math.min(redis.call('ZCARD', ages) - receiptsMax, REMOVED_MAX)
if excess > 0 then
  -- The receipt being written stays, however old its time is.
  for _, oldest in ipairs(redis.call('ZRANGE', ages, 0, excess)) do
    if oldest ~= digest and excess > 0 then
      redis.call('HDEL', receipts, oldest)
      redis.call('ZREM', ages, oldest)
      excess = excess - 1
    end
  end
end
redis.call('PEXPIRE', receipts, exact(collectMs))
redis.call('PEXPIRE', ages, exact(collectMs))
return receipt
