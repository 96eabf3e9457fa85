#!lua
-- Stores the receipt of an idempotency key, unless the key has one that is younger than `keptMs`. A call that stores a
-- receipt also removes those that are not younger than `keptMs`, and further old ones until the project is within its
-- limits.
--
-- KEYS   receipts receiptAges
-- ARGV   digest nowMs keptMs receiptsMax receiptsBytesMax ttlMs receipt
-- REPLY  the stored receipt: `receipt`, or the earlier one of the key
--
-- Blocks the server for some microseconds, and about 2 µs per removed receipt. A call removes about a thousand at most;
-- the next calls remove the others.

local receipts, ages = key('receipts'), key('receiptAges')
local digest, nowMs, keptMs = argument('digest'), integer('nowMs'), count('keptMs')
local receiptsMax, receiptsBytesMax = count('receiptsMax'), count('receiptsBytesMax')
local ttlMs, receipt = count('ttlMs'), argument('receipt')
complete()
if ttlMs == 0 then error('argument not positive: ttlMs') end
local existing = redis.call('HGET', receipts, digest)
local writtenMs = redis.call('ZSCORE', ages, digest)
if existing and writtenMs and storedNumber(writtenMs) + keptMs > nowMs then return existing end

local REMOVED_MAX = 1000
-- The field `bytes` of the hash `receipts` has the total bytes of all receipts. No digest is equal to this name, so no
-- receipt has this field.
local bytes = storedNumber(redis.call('HGET', receipts, 'bytes')) + #receipt - #(existing or '')
redis.call('HSET', receipts, digest, receipt)
redis.call('ZADD', ages, exactText(nowMs), digest)
local receiptCount = redis.call('ZCARD', ages)
local oldest = redis.call('ZRANGE', ages, 0, REMOVED_MAX, 'WITHSCORES')
for i = 1, #oldest, 2 do
  local isOutdated = storedNumber(oldest[i + 1]) + keptMs <= nowMs
  if not isOutdated and receiptCount <= receiptsMax and bytes <= receiptsBytesMax then break end
  -- The receipt that this call has written is not removed.
  if oldest[i] ~= digest then
    bytes = bytes - redis.call('HSTRLEN', receipts, oldest[i])
    redis.call('HDEL', receipts, oldest[i])
    redis.call('ZREM', ages, oldest[i])
    receiptCount = receiptCount - 1
  end
end
redis.call('HSET', receipts, 'bytes', exactText(bytes))
redis.call('PEXPIRE', receipts, exactText(ttlMs))
redis.call('PEXPIRE', ages, exactText(ttlMs))
return receipt
