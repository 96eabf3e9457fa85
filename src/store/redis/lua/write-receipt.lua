#!lua
-- Keeps the first receipt of an idempotency key, and of a project's receipts the newest ones, within bounds of number and bytes.
--
-- KEYS   receipts receiptAges
-- ARGV   digest nowMs keptMs receiptsMax receiptsBytesMax collectMs receipt
-- REPLY  the receipt that stands
--
-- Blocks the server for some microseconds and about 2 µs for each receipt that goes, a thousand at most; should there be more, the
-- next calls go on.

local receipts, ages = key('receipts'), key('receiptAges')
local digest, nowMs, keptMs = argument('digest'), integer('nowMs'), count('keptMs')
local receiptsMax, receiptsBytesMax = count('receiptsMax'), count('receiptsBytesMax')
local collectMs, receipt = count('collectMs'), argument('receipt')
complete()
if collectMs == 0 then error('argument not positive: collectMs') end
local standing = redis.call('HGET', receipts, digest)
local writtenMs = redis.call('ZSCORE', ages, digest)
if standing and writtenMs and stored(writtenMs) + keptMs > nowMs then return standing end

local REMOVED_MAX = 1000
-- Bytes of all receipts, in a field that no digest can be.
local bytes = stored(redis.call('HGET', receipts, 'bytes')) + #receipt - #(standing or '')
redis.call('HSET', receipts, digest, receipt)
redis.call('ZADD', ages, exact(nowMs), digest)
local number = redis.call('ZCARD', ages)
local oldest = redis.call('ZRANGE', ages, 0, REMOVED_MAX, 'WITHSCORES')
for i = 1, #oldest, 2 do
  local isOutdated = stored(oldest[i + 1]) + keptMs <= nowMs
  if not isOutdated and number <= receiptsMax and bytes <= receiptsBytesMax then break end
  -- The receipt being written stays, however old its time is.
  if oldest[i] ~= digest then
    bytes = bytes - redis.call('HSTRLEN', receipts, oldest[i])
    redis.call('HDEL', receipts, oldest[i])
    redis.call('ZREM', ages, oldest[i])
    number = number - 1
  end
end
redis.call('HSET', receipts, 'bytes', exact(bytes))
redis.call('PEXPIRE', receipts, exact(collectMs))
redis.call('PEXPIRE', ages, exact(collectMs))
return receipt
