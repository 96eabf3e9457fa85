-- Put before every script. A script takes its keys and arguments one after the other, by the names in its header. It
-- calls `complete` before its first write, so that a call with too few or too many keys or arguments changes nothing.
local keysTaken, argumentsTaken = 0, 0

local function key(name)
  keysTaken = keysTaken + 1
  return KEYS[keysTaken] or error('key missing: ' .. name)
end

local function argument(name)
  argumentsTaken = argumentsTaken + 1
  return ARGV[argumentsTaken] or error('argument missing: ' .. name)
end

-- Takes `number` arguments without copying them: returns the positions of the first and the last one in ARGV.
local function arguments(name, number)
  local from = argumentsTaken + 1
  argumentsTaken = argumentsTaken + number
  if argumentsTaken > #ARGV then error('argument missing: ' .. name) end
  return from, argumentsTaken
end

local INTEGER_MAX = 9007199254740991

local function integer(name)
  local value = tonumber(argument(name))
  -- NaN is not equal to its floor.
  if not value or value ~= math.floor(value) or value > INTEGER_MAX or value < -INTEGER_MAX then
    error('argument not an integer: ' .. name)
  end
  return value
end

local function count(name)
  local value = integer(name)
  if value < 0 then error('argument negative: ' .. name) end
  return value
end

local function complete()
  if keysTaken ~= #KEYS then error('keys left over: ' .. (#KEYS - keysTaken)) end
  if argumentsTaken ~= #ARGV then error('arguments left over: ' .. (#ARGV - argumentsTaken)) end
end

-- Converts a stored number from text; returns 0 if there is none.
local function stored(text)
  if not text then return 0 end
  return tonumber(text) or error('stored value not a number')
end

-- Converts a number to text with all its digits. `tostring` would keep only fourteen.
local function exact(value)
  return string.format('%.17g', value)
end

-- Maximum number of values in one command; Lua can unpack about 8,000. The number is even, so pairs stay together.
local UNPACKED_MAX = 1000

local function inChunks(command, name, values)
  for from = 1, #values, UNPACKED_MAX do
    redis.call(command, name, unpack(values, from, math.min(from + UNPACKED_MAX - 1, #values)))
  end
end

-- Sends a command with these values, in chunks. Returns the reply for each value; false where there is none.
local function repliesFor(command, name, values)
  local replies = {}
  for from = 1, #values, UNPACKED_MAX do
    local to = math.min(from + UNPACKED_MAX - 1, #values)
    for i, reply in ipairs(redis.call(command, name, unpack(values, from, to))) do replies[from + i - 1] = reply end
  end
  return replies
end

-- Returns start and end of a stored stretch of time.
local function stretchOf(member)
  local from, to = string.match(member, '^(%S+) (%S+)$')
  return stored(from), stored(to)
end

-- Returns the members of a sorted set of stretches that overlap [from, to), sorted by time.
local function stretchesWithin(name, from, to)
  local found = redis.call('ZREVRANGEBYSCORE', name, exact(from), '-inf', 'LIMIT', 0, 1)
  if found[1] then
    local first, last = stretchOf(found[1])
    if last <= from or first >= to then found = {} end
  end
  if to > from then
    for _, member in ipairs(redis.call('ZRANGEBYSCORE', name, '(' .. exact(from), '(' .. exact(to))) do
      found[#found + 1] = member
    end
  end
  return found
end

-- Removes one listing of a block. Returns whether it was the last one. `extra` counts the listings beyond the first.
local function removeListing(extra, block)
  local more = stored(redis.call('HGET', extra, block))
  if more > 1 then
    redis.call('HINCRBY', extra, block, -1)
  elseif more == 1 then
    redis.call('HDEL', extra, block)
  end
  return more == 0
end
