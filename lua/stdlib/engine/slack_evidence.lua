--- What a plan was made for, as its message in Slack shows it: the signals, and the last hour of
--- each as a line of blocks. It is looked up once; where the source does not answer there are no
--- lines.
local async = require 'async'
local clock = require 'perigee.clock'
local incidents = require 'engine.incidents'
local json = require 'perigee.json'
local label_key = require('prometheus').label_key
local link = require 'rules.link'
local plot = require 'plot'
local story = require 'engine.story'
local units = require 'units'

local slack_evidence = {}

local MOST, QUERIES = 9, 3   -- signals told of; queries for their lines
local HOUR, STEP, BLOCKS = 3600, 60, 30
local PATIENCE = 5           -- seconds: a decision does not wait for a picture

--- What else made the playbook act: an alert, an event, a forecast, the hour.
local function trigger_of(engine, p)
  local told = story.of(engine.store, p.id).trigger
  local event = told and told.data
  if not event then return {} end
  local words = { event.summary }
  if event.value then words[#words + 1] = 'value ' .. (type(event.value) == 'number'
    and units.number_text(event.value) or event.value) end
  if event.since then words[#words + 1] = 'since ' .. event.since end
  if event.source then words[#words + 1] = 'told by ' .. event.source end
  return { { signal = event.name or event.trigger or p.playbook, labels = event.labels,
    value = event.value, reason = table.concat(words, ', ') } }
end

--- The anomalies of an incident, or the series that a metric trigger fired for, or what else the
--- trigger is.
local function anomalies_of(engine, p)
  local incident = p.incident_id and incidents.get(engine.store, p.incident_id)
  if incident then return incident.anomalies end
  local row = engine.store:row('select state from signals where name = ?',
    'playbook/' .. p.playbook)
  for _, series in pairs(row and json.decode(row.state).series or {}) do
    if label_key(series.labels) == p.target then
      return { { signal = p.playbook, labels = series.labels, value = series.value,
        reason = series.reason } }
    end
  end
  return trigger_of(engine, p)
end

local function query_of(engine, p, signal)
  local def = link.find(engine.rules, signal)
  if def and def.query then return def.query end
  local playbook = engine.rules.playbooks[p.playbook]
  return signal == p.playbook and playbook and playbook.when.query or nil
end

--- Whether a series of the source is the one with these labels; a declaration adds some of its own.
local function is_series(labels, series)
  for name, value in pairs(series) do
    if name ~= '__name__' and labels[name] ~= value then return false end
  end
  return true
end

local function sparkline(found, labels)
  for _, series in ipairs(found or {}) do
    if is_series(labels, series.labels) then return plot.sparkline(series.y, BLOCKS) end
  end
  return ''
end

--- Waits, a few seconds at most.
---@param engine table
---@param p table
---@return { signal: string, labels: table, value: number, reason?: string, sparkline: string }[]
function slack_evidence.of(engine, p)
  local out, asked, n, now = {}, {}, 0, clock.now()
  for i, a in ipairs(anomalies_of(engine, p)) do
    if i > MOST then break end
    local query = query_of(engine, p, a.signal)
    if query and asked[query] == nil and n < QUERIES then
      n = n + 1
      local ok, found = pcall(async.timeout, PATIENCE, engine.source.query_range, engine.source,
        query, now - HOUR, now, STEP)
      asked[query] = ok and found or false
    end
    out[i] = { signal = a.signal, labels = a.labels, value = a.value, reason = a.reason,
      sparkline = sparkline(query and asked[query], a.labels) }
  end
  return out
end

return slack_evidence
