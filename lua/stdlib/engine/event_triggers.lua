--- Events of Kubernetes as triggers. A watch puts those that a playbook waits for into the store,
--- together with the place to go on from; from there they are offered, each once. So neither a
--- crash nor a reload loses one, and what happened before the first start is nobody's business.
local async = require 'async'
local clock = require 'perigee.clock'
local json = require 'perigee.json'
local log = require 'log'
local occurrences = require 'engine.occurrences'
local read_time = require('perigee.series_file').time

local event_triggers = {}

local LATE = 600       -- seconds after which an event that nobody could be asked about is left out
local MOST = 1000      -- events that wait for one playbook
local AT_ONCE = 100    -- that are offered in one turn
local REFUSED = 60     -- seconds until a watch that was refused is tried again
local OURS = 'perigee' -- who reports what we ourselves have done

-- -- one event ------------------------------------------------------------------------------------

local function text(v) return type(v) == 'string' and v or '' end

local function fields(v) return type(v) == 'table' and v or {} end

--- When it happened last, as Kubernetes wrote it.
local function last_time(object)
  local series = fields(object.series)
  for _, time in ipairs { text(series.lastObservedTime), text(object.lastTimestamp),
    text(object.eventTime), text(fields(object.metadata).creationTimestamp) } do
    local t = read_time(time)
    if t then return t end
  end
  return 0
end

--- What a playbook is given; nil of what is no event, or tells of ourselves.
local function read(object)
  local about, meta = fields(object.involvedObject), fields(object.metadata)
  if text(object.reason) == '' or text(meta.uid) == '' or text(about.kind) == '' then return nil end
  if text(object.reportingComponent) == OURS or text(fields(object.source).component) == OURS then
    return nil
  end
  local count = fields(object.series).count or object.count or 1
  local labels = { kind = about.kind, name = text(about.name), reason = object.reason,
    namespace = text(about.namespace), type = text(object.type) }
  -- A kind is text from outside: "Namespace" must not tell of another namespace than its own.
  local kind = about.kind:lower()
  labels[kind] = labels[kind] or labels.name
  return { labels = labels, count = count, at = last_time(object),
    message = text(object.message):sub(1, 1024),
    occurrence = ('event/%s/%s'):format(meta.uid, tostring(count)) }
end

local function matches(when, e)
  local labels = e.labels
  return labels.reason == when.reason and labels.type == when.type
    and (not when.event_kind or labels.kind == when.event_kind)
    and (not when.namespace or labels.namespace == when.namespace)
    and (not when.name or labels.name == when.name)
    and (not when.message or e.message:find(when.message, 1, true) ~= nil)
end

-- -- keeping --------------------------------------------------------------------------------------

local function waiting(engine, def)
  return engine.store:row(
    'select count(*) as n from occurrences where playbook = ? and event is not null', def.name).n
end

--- Keeps an event for every playbook that waits for it and does not know it.
local function keep(engine, object)
  local e = read(object)
  if not e then return end
  for name, def in pairs(engine.rules.playbooks) do
    if def.when.kind == 'kubernetes_event' and matches(def.when, e)
      and not occurrences.is_known(engine, def, e.occurrence) then
      if waiting(engine, def) >= MOST then
        log.warn('too many events of Kubernetes wait for a playbook', { playbook = name })
      else
        occurrences.keep(engine, def, e.occurrence, { trigger = 'kubernetes_event',
          labels = e.labels, annotations = { message = e.message }, value = e.count,
          since = clock.text(e.at), source = 'kubernetes' })
      end
    end
  end
end

local function place_name(namespace) return 'kubernetes_events/' .. (namespace or '*') end

local function read_place(engine, namespace)
  local row = engine.store:row('select value from settings where name = ?', place_name(namespace))
  return row and json.decode(row.value)
end

--- After a list that had to be made anew: what has happened since the last event that was seen, by
--- the clock of who told of it, which goes by whole seconds. At the first start nothing has.
---@return number at  when the last event was
local function keep_listed(engine, items, place)
  local at = place and place.at or 0
  for _, object in ipairs(items) do
    local t = last_time(object)
    if place and t >= place.at then keep(engine, object) end
    at = math.max(at, place and t or t + 0.001)
  end
  return at
end

local function on_event(engine, namespace, event)
  if engine.stopping then return false end
  local any
  engine.store:relaxed(function()
    local place = read_place(engine, namespace)
    local at = place and place.at or 0
    if event.type == 'LISTED' then
      at = keep_listed(engine, event.items, place)
    elseif event.type == 'ADDED' or event.type == 'MODIFIED' then
      keep(engine, event.object)
      at = math.max(at, last_time(event.object))
    end
    any = engine.store:row 'select 1 as one from occurrences where event is not null limit 1'
    engine.store:exec('insert or replace into settings (name, value) values (?, ?)',
      place_name(namespace), json.encode { version = event.resource_version, at = at })
  end)
  if any then engine.poke() end
end

--- Watches the events of a namespace, or of all, until the generation ends.
local function watch(engine, namespace)
  while not engine.stopping do
    local place = read_place(engine, namespace)
    local _, failure = engine.kubernetes:watch('events', namespace,
      { resource_version = place and place.version },
      function(event) return on_event(engine, namespace, event) end)
    if not failure then return end
    log.error('events of Kubernetes cannot be watched', { namespace = namespace,
      reason = failure.message })
    async.sleep(REFUSED)
  end
end

-- -- asking ---------------------------------------------------------------------------------------

local function target_of(labels)
  return ('kubernetes/%s/%s/%s'):format(labels.namespace, labels.kind, labels.name)
end

--- Asks the playbooks about the events that wait.
---@param engine table
function event_triggers.look(engine)
  local now = clock.now()
  for _, row in ipairs(engine.store:rows([[select * from occurrences where event is not null
    order by at limit ?]], AT_ONCE)) do
    local def = engine.rules.playbooks[row.playbook]
    if not def or def.when.kind ~= 'kubernetes_event' or now - row.at > LATE then
      occurrences.mark(engine, { name = row.playbook }, row.occurrence)
    else
      local event = json.decode(row.event)
      event.time = now
      occurrences.offer(engine, def, row.occurrence, event, target_of(event.labels))
    end
  end
end

--- The namespaces whose events playbooks wait for: all of them where one does not say which.
local function namespaces(engine)
  local out, seen, all = {}, {}, false
  for _, def in pairs(engine.rules.playbooks) do
    local when = def.when
    if when.kind == 'kubernetes_event' then
      all = all or not when.namespace
      if when.namespace and not seen[when.namespace] then
        out[#out + 1], seen[when.namespace] = when.namespace, true
      end
    end
  end
  return out, all
end

--- Begins to watch, where any playbook waits for events.
---@param engine table
---@return perigee.Task[] watches  to be cancelled when the generation ends
function event_triggers.start(engine)
  local list, all = namespaces(engine)
  if not all and #list == 0 then return {} end
  if not engine.kubernetes then
    log.warn 'playbooks wait for events of Kubernetes, and no cluster is configured'
    return {}
  end
  if all then return { async.spawn(watch, engine, nil) } end
  for i, namespace in ipairs(list) do list[i] = async.spawn(watch, engine, namespace) end
  return list
end

return event_triggers
