--- Signals as Prometheus' alerting rules: /api/v1/rules and /api/v1/alerts, so that what shows
--- those shows ours.
local clock = require 'perigee.clock'
local evaluate = require 'engine.evaluate'
local go_format = require 'perigee.go_format'
local json = require 'perigee.json'
local link = require 'rules.link'
local number = require('prometheus').number
local signals = require 'engine.signals'

local prometheus_api = {}

--- A value as Prometheus prints it here: the fewest digits that read back, with an exponent.
local function exponent_text(value)
  return go_format.float(type(value) == 'string' and number(value) or value or 0 / 0, 'e', -1)
end

local function alerts_of(name, state)
  local out = json.array()
  for _, series in pairs(state.series or {}) do
    if series.state == 'pending' or series.state == 'firing' then
      local labels = {}
      for label, value in pairs(series.labels) do labels[label] = value end
      labels.alertname = name
      out[#out + 1] = { labels = labels, annotations = series.annotations or {},
        state = series.state,
        activeAt = clock.text(series.active_at), value = exponent_text(series.value) }
    end
  end
  table.sort(out, function(a, b) return json.encode(a.labels) < json.encode(b.labels) end)
  return out
end

local function rule_of(engine, def)
  local row = evaluate.row(engine, def.name)
  local state = json.decode(row.state)
  return { type = 'alerting', name = def.name,
    query = def.query or ('%s %q'):format(def.kind, def.name), duration = def.hold_for,
    keepFiringFor = def.keep_firing_for,
    labels = def.texts.labels or {}, annotations = def.texts.annotations or {},
    state = row.evaluated_at > 0 and signals.highest(state) or 'unknown', health = row.health,
    lastError = row.error ~= '' and row.error or nil, evaluationTime = row.seconds,
    lastEvaluation = row.evaluated_at > 0 and clock.text(row.evaluated_at)
      or '0001-01-01T00:00:00Z',
    alerts = alerts_of(def.name, state) }
end

--- What can alert: a forecast does where it says when.
local function alerting(rules)
  local out = {}
  for _, def in pairs(link.watched(rules)) do
    if def.kind ~= 'forecast' or def.alert_when then out[#out + 1] = def end
  end
  return out
end

local function by_line(a, b) return a.line < b.line end

--- Every file is a group.
---@param engine table
---@param fields table  of the query: type=alert|record
function prometheus_api.rules(engine, fields)
  local groups, by_file = json.array(), {}
  for _, def in ipairs(fields.type == 'record' and {} or alerting(engine.rules)) do
    by_file[def.file] = by_file[def.file] or {}
    table.insert(by_file[def.file], def)
  end
  for file, defs in pairs(by_file) do
    table.sort(defs, by_line)
    local group = { name = file:match '[^/]+$', file = file, interval = math.huge, limit = 0,
      evaluationTime = 0,
      lastEvaluation = '0001-01-01T00:00:00Z', rules = json.array() }
    for i, def in ipairs(defs) do
      local rule = rule_of(engine, def)
      group.rules[i] = rule
      group.interval = math.min(group.interval, def.every)
      group.evaluationTime = group.evaluationTime + rule.evaluationTime
      if rule.lastEvaluation > group.lastEvaluation then
        group.lastEvaluation = rule.lastEvaluation
      end
    end
    groups[#groups + 1] = group
  end
  table.sort(groups, function(a, b) return a.file < b.file end)
  return { groups = groups }
end

--- Every pending and firing series, as Prometheus lists its alerts.
function prometheus_api.alerts(engine)
  local all, names = json.array(), {}
  for _, def in ipairs(alerting(engine.rules)) do names[#names + 1] = def.name end
  table.sort(names)
  for _, name in ipairs(names) do
    for _, alert in ipairs(alerts_of(name, evaluate.read_state(engine, { name = name }))) do
      all[#all + 1] = alert
    end
  end
  return { alerts = all }
end

--- What Grafana asks a data source that it calls Prometheus.
function prometheus_api.buildinfo(version)
  return { version = version, revision = '', branch = '', buildUser = '', buildDate = '',
    goVersion = '' }
end

return prometheus_api
