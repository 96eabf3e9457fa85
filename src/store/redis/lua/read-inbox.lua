#!lua flags=no-writes
-- Returns the oldest inbox entries of a partition: at most `entriesMax`, whose blocks have at most `bytesMax` bytes
-- together. The first entry is returned even if its block is larger.
--
-- KEYS   inbox
-- ARGV   bytesMax entriesMax
-- REPLY  per entry: member, order
--
-- Blocks the server for about 1 µs per returned entry. It reads pages of 256 entries, so up to 256 entries more than it
-- returns.

local inbox = key('inbox')
local bytesMax, entriesMax = integer('bytesMax'), count('entriesMax')
complete()
local ENTRIES_PER_PAGE = 256
local reply, bytes, from = {}, 0, 0
while true do
  local page = redis.call('ZRANGE', inbox, from, from + ENTRIES_PER_PAGE - 1, 'WITHSCORES')
  for i = 1, #page, 2 do
    local scalarBytes, sketchBytes = string.match(page[i], '^%S+ (%d+) (%d+) ')
    bytes = bytes + storedNumber(scalarBytes) + storedNumber(sketchBytes)
    if bytes > bytesMax and #reply > 0 or #reply == 2 * entriesMax then return reply end
    reply[#reply + 1] = page[i]
    reply[#reply + 1] = page[i + 1]
  end
  if #page < 2 * ENTRIES_PER_PAGE then return reply end
  from = from + ENTRIES_PER_PAGE
end
