-- Functions of all scripts, inserted after the first line of each. `key` and `argument` return the next key or
-- argument, `integer` and `count` the next argument as a number; all throw if there is none. Before its first write, a
-- script calls `complete`, which throws if keys or arguments are left over. So a call with too few or too many keys or
-- arguments changes nothing.
local keysTaken, argumentsTaken = 0, 0

local function key(name)
  keysTaken = keysTaken + 1
  return KEYS[keysTaken] or error('key missing: ' .. name)
end

local function argument(name)
  argumentsTaken = argumentsTaken + 1
  return ARGV[argumentsTaken] or error('argument missing: ' .. name)
end

-- Skips `number` arguments. Returns the positions of the first and the last of them in ARGV, so that they need not be
-- copied. If `number` is 0, the last position is before the first.
local function arguments(name, number)
  local from = argumentsTaken + 1
  argumentsTaken = argumentsTaken + number
  if argumentsTaken > #ARGV then error('argument missing: ' .. name) end
  return from, argumentsTaken
end

local INTEGER_MAX = 9007199254740991

-- Returns the next argument, an integer whose double is exact.
local function integer(name)
  local value = tonumber(argument(name))
  -- NaN is not equal to its floor.
  if not value or value ~= math.floor(value) or value > INTEGER_MAX or value < -INTEGER_MAX then
    error('argument not an integer: ' .. name)
  end
  return value
end

-- Returns the next argument, an integer from 0.
local function count(name)
  local value = integer(name)
  if value < 0 then error('argument negative: ' .. name) end
  return value
end

local function complete()
  if keysTaken ~= #KEYS then error('keys left over: ' .. (#KEYS - keysTaken)) end
  if argumentsTaken ~= #ARGV then error('arguments left over: ' .. (#ARGV - argumentsTaken)) end
end

-- Converts the text of a number that was read from Redis. Returns 0 if Redis has no value. Throws for other text.
local function storedNumber(text)
  if not text then return 0 end
  return tonumber(text) or error('stored value not a number')
end

-- Converts a number to text with all its digits. `tostring` would round it to fourteen digits.
local function exactText(value)
  return string.format('%.17g', value)
end

-- Converts the text of a count that HINCRBY can change, as `storedNumber` does. Throws unless it is a plain integer.
local function storedCount(text)
  local value = storedNumber(text)
  if text and not (string.find(text, '^%d+$') and exactText(value) == text) then error('stored value not a count') end
  return value
end

-- Maximum number of values in one command: `unpack` fails for more than about 8,000. It is even, so that pairs of
-- values are not separated.
local UNPACKED_MAX = 1000

-- Sends a command with these values, in several commands if there are many. Sends none if there are no values.
local function inChunks(command, keyName, values)
  for from = 1, #values, UNPACKED_MAX do
    redis.call(command, keyName, unpack(values, from, math.min(from + UNPACKED_MAX - 1, #values)))
  end
end

-- Like `inChunks`, for a command that replies with a list. Returns the reply for each value; false where it is nil.
local function repliesFor(command, keyName, values)
  local replies = {}
  for from = 1, #values, UNPACKED_MAX do
    local to = math.min(from + UNPACKED_MAX - 1, #values)
    for i, reply in ipairs(redis.call(command, keyName, unpack(values, from, to))) do replies[from + i - 1] = reply end
  end
  return replies
end

-- Returns start and end of a stretch of time that is stored as text. Throws for other text.
local function stretchOf(member)
  local from, to = string.match(member, '^(%S+) (%S+)$')
  if not from then error('stored value not a stretch') end
  return storedNumber(from), storedNumber(to)
end

-- A sorted set has disjoint stretches of time, with their start as score. Returns the members that overlap [from, to),
-- sorted by time. For an empty range, returns the stretch that begins before it and ends after it, if there is one.
local function stretchesOverlapping(keyName, from, to)
  local members = redis.call('ZREVRANGEBYSCORE', keyName, exactText(from), '-inf', 'LIMIT', 0, 1)
  if members[1] then
    local first, last = stretchOf(members[1])
    if last <= from or first >= to then members = {} end
  end
  if to > from then
    for _, member in ipairs(redis.call('ZRANGEBYSCORE', keyName, '(' .. exactText(from), '(' .. exactText(to))) do
      members[#members + 1] = member
    end
  end
  return members
end

-- Records that one entry fewer lists a block. Returns whether no entry lists the block any more. The hash `extra` has
-- the number of entries that list the block, minus 1. It has no field for a block with one entry.
local function removeListing(extra, block)
  local extraCount = storedCount(redis.call('HGET', extra, block))
  if extraCount > 1 then
    redis.call('HINCRBY', extra, block, -1)
  elseif extraCount == 1 then
    redis.call('HDEL', extra, block)
  end
  return extraCount == 0
end
