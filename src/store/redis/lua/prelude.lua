-- Stands before every script. A script takes its keys and arguments one after the other, by the names that its header gives them,
-- and calls `complete` before its first write: a caller that sends too few or too many has changed nothing.
local keysTaken, argumentsTaken = 0, 0

local function key(name)
  keysTaken = keysTaken + 1
  return KEYS[keysTaken] or error('key missing: ' .. name)
end

local function argument(name)
  argumentsTaken = argumentsTaken + 1
  return ARGV[argumentsTaken] or error('argument missing: ' .. name)
end

-- Positions of the next arguments, which stay in ARGV: first and last.
local function arguments(name, number)
  local from = argumentsTaken + 1
  argumentsTaken = argumentsTaken + number
  if argumentsTaken > #ARGV then error('argument missing: ' .. name) end
  return from, argumentsTaken
end

local INTEGER_MAX = 9007199254740991

local function integer(name)
  local value = tonumber(argument(name))
  -- Also what is not a number at all, for that is not its own floor.
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

-- A number read from a key; 0 where there is none.
local function stored(text)
  if not text then return 0 end
  return tonumber(text) or error('stored value not a number')
end

-- All digits: Lua's own conversion keeps fourteen.
local function exact(value)
  return string.format('%.17g', value)
end

-- Lua unpacks at most some 8,000 values; a thousand also bounds what one command does. Even, for pairs.
local UNPACKED_MAX = 1000

local function inChunks(command, name, values)
  for from = 1, #values, UNPACKED_MAX do
    redis.call(command, name, unpack(values, from, math.min(from + UNPACKED_MAX - 1, #values)))
  end
end

-- What a command says of each of these values; false where it says nothing.
local function answersOf(command, name, values)
  local answers = {}
  for from = 1, #values, UNPACKED_MAX do
    local to = math.min(from + UNPACKED_MAX - 1, #values)
    for i, answer in ipairs(redis.call(command, name, unpack(values, from, to))) do answers[from + i - 1] = answer end
  end
  return answers
end

-- The members of a sorted set of stretches that overlap [from, to), in order of time.
local function stretchesWithin(name, from, to)
  local found = redis.call('ZREVRANGEBYSCORE', name, exact(from), '-inf', 'LIMIT', 0, 1)
  if found[1] then
    local first, last = string.match(found[1], '^(%S+) (%S+)$')
    if stored(last) <= from or stored(first) >= to then found = {} end
  end
  if to > from then
    for _, member in ipairs(redis.call('ZRANGEBYSCORE', name, '(' .. exact(from), '(' .. exact(to))) do
      found[#found + 1] = member
    end
  end
  return found
end
