#!lua flags=no-writes
-- Returns a page of the events of a project in one partition, newest first: at most `limit` events of `bytesMax` bytes
-- together. The first event is returned even if it is larger.
--
-- KEYS   events
-- ARGV   newest oldest limit bytesMax
-- REPLY  '1' when there may be more events, else '0'; then the events of the page
--
-- Blocks the server for about a millisecond per megabyte of `bytesMax`.

local events = key('events')
local newest, oldest = argument('newest'), argument('oldest')
local limit, bytesMax = count('limit'), count('bytesMax')
complete()
local EVENTS_PER_READ = 32
local reply, bytes = { '0' }, 0
while #reply - 1 < limit do
  local wanted = math.min(EVENTS_PER_READ, limit - #reply + 1)
  local page = redis.call('ZRANGE', events, newest, oldest, 'BYLEX', 'REV', 'LIMIT', 0, wanted)
  for _, event in ipairs(page) do
    bytes = bytes + #event
    if bytes > bytesMax and #reply > 1 then
      reply[1] = '1'
      return reply
    end
    reply[#reply + 1] = event
  end
  if #page < wanted then return reply end
  newest = '(' .. page[#page]
end
reply[1] = '1'
return reply
