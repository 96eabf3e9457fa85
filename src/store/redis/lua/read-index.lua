#!lua flags=no-writes
-- Returns one consistent snapshot of timelines of a metric and, if `wantInbox` is '1', of the inbox of the partition.
--
-- KEYS   inbox (timeline expired)*
-- ARGV   wantInbox timelines (windowsFromMs fromMs toMs)*
-- REPLY  the inbox (per entry: member, order) or an empty list; then per timeline: index entries, expired stretches
--
-- Blocks the server for about 0.3 µs per returned entry. There are few entries, because the inbox is folded and windows
-- are merged.

local inbox = key('inbox')
local reply = { {} }
if argument('wantInbox') == '1' then reply[1] = redis.call('ZRANGE', inbox, 0, -1, 'WITHSCORES') end
for _ = 1, count('timelines') do
  local timeline, expired = key('timeline'), key('expired')
  local windowsFrom, from, to = integer('windowsFromMs'), integer('fromMs'), integer('toMs')
  local entries = {}
  if to > from then entries = redis.call('ZRANGEBYSCORE', timeline, exactText(windowsFrom), '(' .. exactText(to)) end
  reply[#reply + 1] = entries
  reply[#reply + 1] = stretchesOverlapping(expired, from, to)
end
complete()
return reply
