#!lua
-- Makes the metrics of a partition that do not exist.
--
-- KEYS   (catalog deleted metric)*
-- ARGV   metrics (name metricId generation identity about)*
-- REPLY  per metric: the id that stands for the name, or, where the generation asked for has ended or its id names another metric, a
--        plus sign and the last generation that may not be asked for
--
-- Blocks the server for some microseconds a metric; the caller sends a hundred at most.

local replies, made, staged = {}, {}, {}
for i = 1, count('metrics') do
  local catalog, deleted, metric = key('catalog'), key('deleted'), key('metric')
  local name, id, generation = argument('name'), argument('metricId'), count('generation')
  local identity, about = argument('identity'), argument('about')
  local named = catalog .. '\0' .. name
  local standing = redis.call('HGET', catalog, name) or staged[named]
  if not standing then
    local taken = redis.call('HGET', metric, 'is') or staged[metric]
    local last = stored(redis.call('HGET', deleted, name))
    if last >= generation then
      standing = '+' .. exact(last)
    elseif taken and taken ~= identity then
      standing = '+' .. exact(generation)
    else
      standing = id
      staged[named], staged[metric] = id, identity
      made[#made + 1] = { catalog = catalog, metric = metric, name = name, id = id, identity = identity, about = about }
    end
  end
  replies[i] = standing
end
complete()
for _, row in ipairs(made) do
  redis.call('HSET', row.catalog, row.name, row.id)
  redis.call('HSET', row.metric, 'is', row.identity, 'about', row.about)
end
return replies
