#!lua
-- Applies commits, at most one per partition. A commit changes nothing if its number is not the next number of its
-- writer, or if its metrics or series conflict with those of the store. The other commits are still applied.
--
-- KEYS   (watermarks writers markers inbox counters
--          ((scalars sketches)? (metric catalog names deleted)* (seriesMetric series seriesOrder tagKeys)*
--           (expired sketchNames setsToDelete)* (sketch*)* (events eventAges)*)*)*
-- ARGV   commits (channel sender writer number writtenMs parts
--          (marker markedMs markerMs block (scalarsValue hasSketches (sketchesValue)? entry)?
--           metrics (metricId name sortKey generation identity about points firstMs lastMs cumulative)*
--           seriesMetrics (seriesMetricId newTagKeys (tagKey)* newSeries (seriesId tags)*)*
--           windows (windowMs)* sets (members (member)* targets (window sketchName)*)*
--           eventProjects (newEvents (event age)*)*)*)*
-- REPLY  per commit: 'applied' and the positions of skipped parts, 'known', 'gap' and the watermark, or 'conflict' and
--        metric ids (an id with a minus sign before it: its generation was deleted). An id may occur several times.
-- NOTE   A commit has parts; a part has a block, metrics, series by metric, windows of sets, sets, events by project.
--        An empty `marker` or `block` means none; `window` is a position among the windows of the part.
--
-- Blocks the server for about 0.1 ms per batch of 500 points, 0.2 µs per set member and resolution, and two lookups per
-- new series. The gateway limits what the commits of a step cost together (`commit-steps.ts`), and sends the next
-- commit for a partition after the reply.

local function takeBlock()
  local name = argument('block')
  if name == '' then return nil end
  local block = { name = name, scalars = key('scalars'), sketches = key('sketches') }
  block.scalarsValue = argument('scalarsValue')
  if argument('hasSketches') == '1' then block.sketchesValue = argument('sketchesValue') end
  block.entry = argument('entry')
  return block
end

local function takeMetric()
  return {
    key = key('metric'),
    catalog = key('catalog'),
    names = key('names'),
    deleted = key('deleted'),
    id = argument('metricId'),
    name = argument('name'),
    sortKey = argument('sortKey'),
    generation = count('generation'),
    identity = argument('identity'),
    about = argument('about'),
    points = count('points'),
    first = integer('firstMs'),
    last = integer('lastMs'),
    cumulative = argument('cumulative') == '1',
  }
end

local function takeSeries()
  local metricSeries = {
    metric = key('seriesMetric'),
    series = key('series'),
    order = key('seriesOrder'),
    tagKeysKey = key('tagKeys'),
    id = argument('seriesMetricId'),
    tagKeys = {},
    ids = {},
    tags = {},
  }
  for i = 1, count('newTagKeys') do metricSeries.tagKeys[i] = argument('tagKey') end
  for i = 1, count('newSeries') do
    metricSeries.ids[i] = argument('seriesId')
    metricSeries.tags[i] = argument('tags')
  end
  return metricSeries
end

local function takeSet(windows)
  local set = { targets = {} }
  set.from, set.to = arguments('member', count('members'))
  for i = 1, count('targets') do
    local window = windows[integer('window') + 1] or error('argument out of range: window')
    set.targets[i] = { window = window, sketch = key('sketch'), name = argument('sketchName') }
  end
  return set
end

local function takePart()
  local part = { marker = argument('marker'), markedMs = integer('markedMs'), markerMs = count('markerMs') }
  part.block = takeBlock()
  part.metrics, part.series, part.windows, part.sets, part.events = {}, {}, {}, {}, {}
  for i = 1, count('metrics') do part.metrics[i] = takeMetric() end
  for i = 1, count('seriesMetrics') do part.series[i] = takeSeries() end
  for i = 1, count('windows') do
    part.windows[i] = {
      expired = key('expired'),
      sketchNames = key('sketchNames'),
      setsToDelete = key('setsToDelete'),
      startMs = integer('windowMs'),
    }
  end
  for i = 1, count('sets') do part.sets[i] = takeSet(part.windows) end
  for i = 1, count('eventProjects') do
    local projectEvents = { key = key('events'), agesKey = key('eventAges'), members = {}, ages = {} }
    for n = 1, count('newEvents') do
      projectEvents.members[2 * n - 1] = 0
      projectEvents.members[2 * n] = argument('event')
      projectEvents.ages[2 * n - 1] = exactText(part.markedMs)
      projectEvents.ages[2 * n] = argument('age')
    end
    part.events[i] = projectEvents
  end
  return part
end

local function takeCommit()
  local commit = {
    watermarks = key('watermarks'),
    writers = key('writers'),
    markers = key('markers'),
    inbox = key('inbox'),
    counters = key('counters'),
    channel = argument('channel'),
    sender = argument('sender'),
    writer = argument('writer'),
    number = count('number'),
    writtenMs = integer('writtenMs'),
    parts = {},
  }
  for i = 1, count('parts') do commit.parts[i] = takePart() end
  return commit
end

local function isDeleted(update)
  return storedNumber(redis.call('HGET', update.deleted, update.name)) >= update.generation
end

-- Computes the new row of a metric and puts it into `commit.metrics`, without writing to Redis. Returns false on a
-- conflict.
local function stageMetric(commit, update)
  local metric = commit.metrics[update.key]
  if not metric then
    local row = redis.call('HMGET', update.key, 'is', 'points', 'first', 'last', 'cumulative')
    metric = { id = update.id, name = update.name, catalog = update.catalog, about = update.about }
    metric.identity = row[1] or update.identity
    metric.isNew = not row[1]
    metric.points = storedNumber(row[2])
    metric.names, metric.sortKey, metric.isListed = update.names, update.sortKey, metric.points > 0
    if not metric.isListed then redis.call('ZCARD', update.names) end
    metric.first, metric.last = row[3] and storedNumber(row[3]) or nil, row[4] and storedNumber(row[4]) or nil
    metric.cumulative = row[5] == '1'
    metric.before = { first = metric.first, last = metric.last, cumulative = metric.cumulative }
    if metric.isNew then
      local nameInCatalog = update.catalog .. '\0' .. update.name
      local existing = redis.call('HGET', update.catalog, update.name) or commit.idsByName[nameInCatalog]
      if existing and existing ~= update.id then return false end
      if isDeleted(update) then return false end
      if metric.identity == update.identity then commit.idsByName[nameInCatalog] = update.id end
    end
    if metric.identity == update.identity then
      commit.metrics[update.key] = metric
      commit.metricKeys[#commit.metricKeys + 1] = update.key
    end
  end
  if metric.identity ~= update.identity then return false end
  metric.points = metric.points + update.points
  if update.points > 0 then
    metric.first = math.min(metric.first or update.first, update.first)
    metric.last = math.max(metric.last or update.last, update.last)
  end
  if update.cumulative then metric.cumulative = true end
  return true
end

-- Collects the new series of a metric in `commit.series`, without writing to Redis. Returns false on a conflict: an id
-- belongs to another series, or the metric is not in `commit.metrics`.
local function stageSeries(commit, metricSeries)
  if not commit.metrics[metricSeries.metric] then return false end
  redis.call('LLEN', metricSeries.order)
  redis.call('SCARD', metricSeries.tagKeysKey)
  local staged = commit.series[metricSeries.series]
  if not staged then
    staged = { order = metricSeries.order, tags = {}, ids = {}, pairs = {} }
    commit.series[metricSeries.series] = staged
  end
  local hasConflict = false
  for i, id in ipairs(metricSeries.ids) do
    local existingTags = staged.tags[id] or redis.call('HGET', metricSeries.series, id)
    if not existingTags then
      staged.tags[id] = metricSeries.tags[i]
      staged.ids[#staged.ids + 1] = id
      staged.pairs[#staged.pairs + 1] = id
      staged.pairs[#staged.pairs + 1] = metricSeries.tags[i]
    elseif existingTags ~= metricSeries.tags[i] then
      hasConflict = true
    end
  end
  return not hasConflict
end

-- Marks the windows that have expired. A member in such a window is not stored at the resolution of the window, only at
-- the resolutions whose window has not expired. Also checks the types of the keys of sets.
local function checkSets(part)
  for _, window in ipairs(part.windows) do
    window.isExpired = #stretchesOverlapping(window.expired, window.startMs, window.startMs + 1) > 0
    redis.call('SCARD', window.sketchNames)
    redis.call('SCARD', window.setsToDelete)
  end
  for _, set in ipairs(part.sets) do
    for _, target in ipairs(set.targets) do
      local magic = redis.call('GETRANGE', target.sketch, 0, 3)
      if magic ~= '' and magic ~= 'HYLL' then error('not a HyperLogLog: ' .. target.sketch) end
    end
  end
end

-- Decides the outcome of a commit, before the first write of the script. Throws if a key has the wrong type, or if text
-- is stored in place of a number. Some replies below are not used: their commands only check the type of a key.
local function check(commit)
  local watermark = storedNumber(redis.call('HGET', commit.watermarks, commit.writer))
  redis.call('ZCARD', commit.writers)
  if commit.number <= watermark then
    commit.reply = { 'known' }
    return
  end
  if commit.number > watermark + 1 then
    commit.reply = { 'gap', exactText(watermark) }
    return
  end
  commit.metrics, commit.metricKeys, commit.idsByName, commit.series = {}, {}, {}, {}
  commit.newMarkers, commit.appliedParts = {}, {}
  local applied, conflict = { 'applied' }, { 'conflict' }
  local markersInCommit = {}
  for i, part in ipairs(commit.parts) do
    local isSkipped = false
    if part.marker ~= '' then
      local markedMs = redis.call('ZSCORE', commit.markers, part.marker)
      isSkipped = markersInCommit[part.marker] or (markedMs and storedNumber(markedMs) + part.markerMs > part.markedMs)
      if not isSkipped then
        markersInCommit[part.marker] = true
        commit.newMarkers[#commit.newMarkers + 1] = exactText(part.markedMs)
        commit.newMarkers[#commit.newMarkers + 1] = part.marker
      end
    end
    if isSkipped then applied[#applied + 1] = exactText(i - 1) else commit.appliedParts[#commit.appliedParts + 1] = part end
  end
  local hasBlocks = false
  for _, part in ipairs(commit.appliedParts) do
    for _, update in ipairs(part.metrics) do
      if not stageMetric(commit, update) then
        conflict[#conflict + 1] = isDeleted(update) and '-' .. update.id or update.id
      end
    end
    for _, metricSeries in ipairs(part.series) do
      if not stageSeries(commit, metricSeries) then conflict[#conflict + 1] = metricSeries.id end
    end
    checkSets(part)
    for _, projectEvents in ipairs(part.events) do
      redis.call('ZCARD', projectEvents.key)
      redis.call('ZCARD', projectEvents.agesKey)
    end
    if part.block then hasBlocks = true end
  end
  if hasBlocks then
    redis.call('ZCARD', commit.inbox)
    local counters = redis.call('HMGET', commit.counters, 'order', 'bytes')
    commit.order, commit.bytes = storedNumber(counters[1]), storedNumber(counters[2])
  end
  if #conflict > 1 then
    commit.reply = conflict
    return
  end
  commit.reply = applied
  commit.applies = true
end

local function writeCatalog(commit)
  for _, name in ipairs(commit.metricKeys) do
    local metric = commit.metrics[name]
    local fields = {}
    local function change(field, value)
      fields[#fields + 1] = field
      fields[#fields + 1] = value
    end
    change('points', exactText(metric.points))
    if metric.first ~= metric.before.first then change('first', exactText(metric.first)) end
    if metric.last ~= metric.before.last then change('last', exactText(metric.last)) end
    if metric.cumulative ~= metric.before.cumulative then change('cumulative', '1') end
    redis.call('HSET', name, unpack(fields))
    if metric.points > 0 and not metric.isListed then redis.call('ZADD', metric.names, '0', metric.sortKey) end
    if metric.isNew then
      redis.call('HSET', name, 'is', metric.identity, 'about', metric.about)
      redis.call('HSET', metric.catalog, metric.name, metric.id)
    end
  end
  for name, staged in pairs(commit.series) do
    inChunks('RPUSH', staged.order, staged.ids)
    inChunks('HSET', name, staged.pairs)
  end
end

local function writeSets(part)
  for _, set in ipairs(part.sets) do
    for _, target in ipairs(set.targets) do
      if not target.window.isExpired and set.to >= set.from then
        local isFirst = redis.call('SADD', target.window.sketchNames, target.name) == 1
        -- If the window has expired before, an old sketch of this name may still exist. It is deleted first, so that
        -- the new members are not added to it.
        if isFirst and redis.call('SREM', target.window.setsToDelete, target.name) == 1 then
          redis.call('DEL', target.sketch)
        end
        for from = set.from, set.to, UNPACKED_MAX do
          redis.call('PFADD', target.sketch, unpack(ARGV, from, math.min(from + UNPACKED_MAX - 1, set.to)))
        end
      end
    end
  end
end

local function write(commit)
  writeCatalog(commit)
  inChunks('ZADD', commit.markers, commit.newMarkers)
  local hasBlocks = false
  for _, part in ipairs(commit.appliedParts) do
    for _, metricSeries in ipairs(part.series) do inChunks('SADD', metricSeries.tagKeysKey, metricSeries.tagKeys) end
    writeSets(part)
    for _, projectEvents in ipairs(part.events) do
      inChunks('ZADD', projectEvents.key, projectEvents.members)
      inChunks('ZADD', projectEvents.agesKey, projectEvents.ages)
    end
    local block = part.block
    if block then
      hasBlocks = true
      redis.call('SET', block.scalars, block.scalarsValue)
      if block.sketchesValue then redis.call('SET', block.sketches, block.sketchesValue) end
      commit.order = commit.order + 1
      commit.bytes = commit.bytes + #block.scalarsValue + #(block.sketchesValue or '')
      redis.call('ZADD', commit.inbox, exactText(commit.order), block.entry)
    end
  end
  if hasBlocks then
    redis.call('HSET', commit.counters, 'order', exactText(commit.order), 'bytes', exactText(commit.bytes))
  end
  redis.call('HSET', commit.watermarks, commit.writer, exactText(commit.number))
  redis.call('ZADD', commit.writers, 'GT', exactText(commit.writtenMs), commit.writer)
  if #commit.metricKeys > 0 then
    local message = { commit.sender }
    for _, name in ipairs(commit.metricKeys) do message[#message + 1] = commit.metrics[name].id end
    -- `pcall`: a failed notification must not fail the commit. Delivery is not guaranteed.
    redis.pcall('SPUBLISH', commit.channel, table.concat(message, ' '))
  end
end

local commits = {}
for i = 1, count('commits') do commits[i] = takeCommit() end
complete()
for _, commit in ipairs(commits) do check(commit) end
local replies = {}
for i, commit in ipairs(commits) do
  if commit.applies then write(commit) end
  replies[i] = commit.reply
end
return replies
