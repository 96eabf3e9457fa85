#!lua
-- Creates those of the given metrics, all of one partition, whose name has no metric and whose generation can be used.
--
-- KEYS   (catalog deleted metric)*
-- ARGV   metrics (name metricId generation identity about)*
-- REPLY  per metric: the id of the metric that now has the name. When none has it, because `generation` was deleted or
--        `metricId` belongs to another metric: a plus sign and the last generation that is known to be unusable
--
-- Blocks the server for some microseconds per metric; the caller sends at most a hundred.

local replies, created, staged = {}, {}, {}
for i = 1, count('metrics') do
  local catalog, deleted, metric = key('catalog'), key('deleted'), key('metric')
  local name, id, generation = argument('name'), argument('metricId'), count('generation')
  local identity, about = argument('identity'), argument('about')
  local nameInCatalog = catalog .. '\0' .. name
  local reply = redis.call('HGET', catalog, name) or staged[nameInCatalog]
  if not reply then
    local existingIdentity = redis.call('HGET', metric, 'is') or staged[metric]
    local lastDeleted = storedNumber(redis.call('HGET', deleted, name))
    if lastDeleted >= generation then
      reply = '+' .. exactText(lastDeleted)
    elseif existingIdentity and existingIdentity ~= identity then
      reply = '+' .. exactText(generation)
    else
      reply = id
      staged[nameInCatalog], staged[metric] = id, identity
      created[#created + 1] = { catalog = catalog, metric = metric, name = name, id = id, identity = identity, about = about }
    end
  end
  replies[i] = reply
end
complete()
for _, row in ipairs(created) do
  redis.call('HSET', row.catalog, row.name, row.id)
  redis.call('HSET', row.metric, 'is', row.identity, 'about', row.about)
end
return replies
