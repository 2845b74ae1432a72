--- An incident's life: open, acknowledged, mitigating, resolved, re-opened within a window. One at
--- a time a name and group; its id comes from what it is, not from chance.
local alert_rules = require 'engine.alert_rules'
local audit = require 'engine.audit'
local clock = require 'perigee.clock'
local convergence = require 'engine.convergence'
local faults = require 'engine.faults'
local hash = require 'perigee.hash'
local json = require 'perigee.json'
local link = require 'rules.link'
local log = require 'log'
local metrics = require 'engine.metrics'

local incidents = {}

local function read(row)
  if not row then return nil end
  local incident = json.decode(row.data)
  incident.id, incident.name, incident.state, incident.group_key = row.id, row.name, row.state,
    row.group_key
  incident.opened_at, incident.resolved_at = row.opened_at, row.resolved_at
  return incident
end

local function write(store, incident)
  local data = {}
  for _, name in ipairs { 'labels', 'anomalies', 'recommendation', 'episode', 'partial',
    'considered', 'acknowledged_by', 'paged', 'reopened_at' } do
    data[name] = incident[name]
  end
  store:exec([[insert or replace into incidents (id, name, group_key, state, opened_at,
    resolved_at, updated_at, data) values (?, ?, ?, ?, ?, ?, ?, ?)]], incident.id, incident.name,
    incident.group_key, incident.state,
    incident.opened_at, incident.resolved_at, clock.now(), json.encode(data))
end

--- One incident, or nil.
function incidents.get(store, id)
  return read(store:row('select * from incidents where id = ?', id))
end

--- Those that are not resolved, the oldest first.
function incidents.active(store)
  local out = {}
  for i, row in ipairs(
    store:rows [[select * from incidents where state <> 'resolved' order by opened_at, id]]) do
    out[i] = read(row)
  end
  return out
end

---@param limit integer
---@param state? string
function incidents.list(store, limit, state)
  local out = {}
  local rows = state
    and store:rows('select * from incidents where state = ? order by opened_at desc, id limit ?',
    state, limit)
    or store:rows('select * from incidents order by opened_at desc, id limit ?', limit)
  for i, row in ipairs(rows) do out[i] = read(row) end
  return out
end

--- What the operator is told where the rule says nothing of its own.
local function default_recommendation(incident)
  local names, seen = {}, {}
  for _, a in ipairs(incident.anomalies) do
    if not seen[a.signal] then names[#names + 1], seen[a.signal] = a.signal, true end
  end
  return 'Look at ' .. table.concat(names, ', ')
end

--- An incident as rules, the API and people see it.
function incidents.view(store, incident)
  local plans = json.array()
  for i, row in ipairs(
    store:rows('select id from plans where incident_id = ? order by created_at, id',
    incident.id)) do
    plans[i] = row.id
  end
  local function time(t) return t and clock.text(t) or nil end
  local anomalies = json.array()
  for i, a in ipairs(incident.anomalies) do
    anomalies[i] = { signal = a.signal, labels = a.labels, value = a.value,
      is_anomaly = a.is_anomaly,
      anomaly_score = a.anomaly_score, confidence = a.confidence, reason = a.reason,
      since = time(a.since) }
  end
  return { id = incident.id, name = incident.name, state = incident.state, labels = incident.labels,
    is_incident = true,
    anomaly_count = #anomalies, anomalies = anomalies, recommendation = incident.recommendation,
    opened_at = time(incident.opened_at), resolved_at = time(incident.resolved_at), plans = plans,
    acknowledged_by = incident.acknowledged_by, reopened_at = time(incident.reopened_at),
    paged = incident.paged }
end

local MOST_ANOMALIES = 1000 -- that a rule is given: a copy of more is beyond what a cell may hold

--- An incident as it is given to a rule's function: anomaly_count counts all of them, and of a
--- great many anomalies only the first are there.
function incidents.event(store, incident)
  local view = incidents.view(store, incident)
  view.anomalies = table.move(view.anomalies, 1, math.min(#view.anomalies, MOST_ANOMALIES), 1, {})
  return view
end

--- What the rule's own function says; nil where it fails, says nothing or is switched off.
local function own_recommendation(engine, def, incident)
  local store, rule = engine.store, 'incident/' .. def.name
  if not def.recommend or faults.switched_off(store, rule, def.file_digest) then return nil end
  local said, fault = def.recommend(incidents.event(store, incident))
  if fault then
    faults.add(store, rule, def.file_digest, fault)
  else
    faults.clear(store, rule)
  end
  return type(said) == 'string' and said or nil
end

local function recommend(engine, def, incident)
  incident.recommendation = own_recommendation(engine, def, incident)
    or default_recommendation(incident)
end

local function tell(engine, kind, incident, fields)
  local record = { incident = incident.id, name = incident.name, labels = incident.labels }
  for k, v in pairs(fields or {}) do record[k] = v end
  audit.append(engine.store, kind, record)
  log.info((kind:gsub('_', ' ')), { incident = incident.id, name = incident.name })
end

local function new_id(name, key, first)
  return 'inc-' .. hash.sha256(('%s\0%s\0%.3f'):format(name, key, first)):sub(1, 12)
end

--- Adds what is odd now to what was; a series that was there keeps its place.
local function merge(before, now)
  local out, at = {}, {}
  local function key(a) return a.signal .. '\0' .. json.encode(a.labels) end
  for i, a in ipairs(before) do
    out[i], at[key(a)] = a, i
    a.is_anomaly = false -- unless it is among those of now
  end
  for _, a in ipairs(now) do
    local i = at[key(a)] or #out + 1
    out[i], at[key(a)] = a, i
  end
  return json.array(out)
end

local function open(engine, def, group, now)
  local store = engine.store
  local labels = {}
  for name, value in pairs(def.labels) do labels[name] = value end
  for name, value in pairs(group.labels) do labels[name] = value end
  local last = read(store:row([[select * from incidents where name = ? and group_key = ?
    and state = 'resolved' order by resolved_at desc limit 1]], def.name, group.key))
  local incident, kind
  if last and now - last.resolved_at <= def.reopen_within then
    incident, kind = last, 'incident_reopened'
    incident.reopened_at, incident.resolved_at, incident.episode = now, nil, last.episode + 1
    incident.anomalies = merge(last.anomalies, group.anomalies)
  else
    kind = 'incident_opened'
    incident = { id = new_id(def.name, group.key, group.first), name = def.name,
      group_key = group.key, labels = labels,
      opened_at = now, episode = 1, anomalies = json.array(group.anomalies), considered = {} }
    -- The same first sign once more, after it was resolved: another incident, and another id.
    if store:row('select id from incidents where id = ?', incident.id) then
      incident.id = new_id(def.name, group.key, now)
    end
  end
  incident.state, incident.partial = 'open', group.partial or nil
  recommend(engine, def, incident)
  write(store, incident)
  tell(engine, kind, incident,
    { signals = group.signals, recommendation = incident.recommendation })
  metrics.incidents_opened:add(1, def.name)
end

local function same_anomalies(a, b)
  return json.encode(json.array(a)) == json.encode(json.array(b))
end

local function update(engine, incident, group)
  local before = json.decode(json.encode(incident.anomalies))
  incident.anomalies = merge(incident.anomalies, group and group.anomalies or {})
  local partial = incident.partial and group and group.partial or nil
  if same_anomalies(before, incident.anomalies) and partial == incident.partial then return end
  incident.partial = partial
  write(engine.store, incident)
end

local function resolve(engine, incident, now)
  incident.state, incident.resolved_at = 'resolved', now
  for _, a in ipairs(incident.anomalies) do a.is_anomaly = false end
  write(engine.store, incident)
  tell(engine, 'incident_resolved', incident)
end

local function series_of(engine, watched)
  if watched.kind == 'alert' then return alert_rules.series(engine, watched) end
  local row = engine.store:row('select state from signals where name = ?', watched.name)
  return row and json.decode(row.state).series
end

--- Brings the incidents of one declaration in line with its signals. All or nothing, and nothing
--- waits.
---@param engine table
---@param def table  the incident's declaration
function incidents.converge(engine, def)
  local now, states = clock.now(), {}
  for _, name in ipairs(def.signals) do
    local watched = link.find(engine.rules, name)
    states[name] = { series = series_of(engine, watched), labels = watched.constant_labels }
  end
  local groups = convergence.groups(def, states, now)
  engine.store:transaction(function()
    local active = {}
    for _, row in ipairs(
      engine.store:rows([[select * from incidents where name = ? and state <> 'resolved']],
      def.name)) do
      local incident = read(row)
      local group = groups[incident.group_key]
      active[incident.group_key] = true
      if group and group.firing > 0 then
        update(engine, incident, group)
      else
        resolve(engine, incident, now)
      end
    end
    for key, group in pairs(groups) do
      if not active[key] and group.signals >= def.min_signals and group.firing > 0 then
        open(engine, def, group, now)
      end
    end
  end)
end

--- Incidents whose declaration is gone have nobody to resolve them.
function incidents.retire(engine)
  for _, incident in ipairs(incidents.active(engine.store)) do
    if not engine.rules.incidents[incident.name] then
      engine.store:transaction(function()
        resolve(engine, incident, clock.now())
        tell(engine, 'incident_retired', incident, { reason = 'its declaration is gone' })
      end)
    end
  end
end

--- Changes an active incident's state.
---@return table? incident
---@return string? message  it is resolved, or there is none
function incidents.set_state(engine, id, state, fields)
  return engine.store:transaction(function()
    local incident = incidents.get(engine.store, id)
    if not incident then return nil, 'there is no such incident' end
    if incident.state == 'resolved' then return nil, 'the incident is resolved' end
    incident.state = state
    for name, value in pairs(fields or {}) do incident[name] = value end
    write(engine.store, incident)
    return incident
  end)
end

--- A person has seen it.
function incidents.acknowledge(engine, id, who)
  return engine.store:transaction(function()
    local before = incidents.get(engine.store, id)
    local state = before and before.state == 'mitigating' and 'mitigating' or 'acknowledged'
    local incident, message = incidents.set_state(engine, id, state, { acknowledged_by = who })
    if incident then tell(engine, 'incident_acknowledged', incident, { who = who }) end
    return incident, message
  end)
end

--- Whether a playbook has been asked about this episode of an incident; the engine asks once an
--- episode, and once more when what was refused for its partial data rests on whole data.
function incidents.considered(incident, playbook)
  local episode = (incident.considered or {})[playbook]
  return episode == incident.episode or incident.partial == true and episode == -incident.episode
end

---@param refused boolean  for its partial data
function incidents.mark_considered(store, incident, playbook, refused)
  incident.considered = incident.considered or {}
  incident.considered[playbook] = refused and -incident.episode or incident.episode
  write(store, incident)
end

return incidents
