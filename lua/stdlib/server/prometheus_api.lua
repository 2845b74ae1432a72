--- Rule groups, and signals as alerting rules, in Prometheus' shapes: /api/v1/rules and
--- /api/v1/alerts, so that what shows those shows ours.
local alert_rules = require 'engine.alert_rules'
local clock = require 'perigee.clock'
local evaluate = require 'engine.evaluate'
local go_format = require 'perigee.go_format'
local json = require 'perigee.json'
local link = require 'rules.link'
local number = require('prometheus').number
local rule_filter = require 'server.rule_filter'
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

local NEVER = '0001-01-01T00:00:00Z'

--- What all rules have, by the row of their last evaluation.
local function told_of(row, rule)
  rule.health, rule.lastError = row.health, row.error ~= '' and row.error or nil
  rule.evaluationTime = row.seconds
  rule.lastEvaluation = row.evaluated_at > 0 and clock.text(row.evaluated_at) or NEVER
  return rule
end

local function rule_of(engine, def)
  local row = evaluate.row(engine, def.name)
  local state = json.decode(row.state)
  return told_of(row, { type = 'alerting', name = def.name,
    query = def.query or ('%s %q'):format(def.kind, def.name), duration = def.hold_for,
    keepFiringFor = def.keep_firing_for,
    labels = def.texts.labels or {}, annotations = def.texts.annotations or {},
    state = row.evaluated_at > 0 and signals.highest(state) or 'unknown',
    alerts = alerts_of(def.name, state) })
end

--- An alert of a rule group.
local function alert_view(alert)
  return { labels = alert.labels, annotations = alert.annotations, state = alert.state,
    activeAt = clock.text(alert.active_at), value = exponent_text(alert.value) }
end

--- The highest state of a rule's alerts; one whose evaluations have all failed has none, as in
--- Prometheus.
local function state_of(row)
  if row.evaluated_at == 0 then return 'unknown' end
  return signals.highest { series = json.decode(row.state).series or {} }
end

--- A rule of a rule group.
local function group_rule(engine, rule)
  local row = evaluate.row(engine, rule.key)
  if rule.kind == 'record' then
    return told_of(row, { type = 'recording', name = rule.name, query = rule.query,
      labels = rule.texts.labels })
  end
  local alerts = json.array()
  for i, alert in ipairs(alert_rules.of(engine, rule)) do alerts[i] = alert_view(alert) end
  return told_of(row, { type = 'alerting', name = rule.name, query = rule.query,
    duration = rule.hold_for, keepFiringFor = rule.keep_firing_for, labels = rule.texts.labels,
    annotations = rule.texts.annotations, alerts = alerts,
    state = state_of(row) })
end

--- What can alert: a forecast does where it says when.
local function alerting(rules)
  local out = {}
  for _, def in pairs(link.watched(rules)) do
    local may = def.kind ~= 'alert' and (def.kind ~= 'forecast' or def.alert_when)
    if may then out[#out + 1] = def end
  end
  return out
end

local function by_line(a, b) return a.line < b.line end

--- The groups that stand for files of Lua.
local function file_groups(engine)
  local groups, by_file = {}, {}
  for _, def in ipairs(alerting(engine.rules)) do
    by_file[def.file] = by_file[def.file] or {}
    table.insert(by_file[def.file], def)
  end
  for file, defs in pairs(by_file) do
    table.sort(defs, by_line)
    local group = { name = file:match '[^/]+$', file = file, interval = math.huge, limit = 0,
      evaluationTime = 0, lastEvaluation = NEVER, rules = json.array() }
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
  return groups
end

local function rule_groups(engine)
  local out = {}
  for i, group in ipairs(engine.rules.groups) do
    local view = told_of(evaluate.row(engine, group.key), { name = group.name,
      file = group.source, interval = group.every, limit = group.limit, rules = json.array() })
    view.health, view.lastError = nil, nil
    for n, rule in ipairs(group.rules) do view.rules[n] = group_rule(engine, rule) end
    out[i] = view
  end
  return out
end

--- What a filter leaves of a group; nil where that is nothing.
local function filtered(filter, group)
  if not rule_filter.takes_group(filter, group) then return nil end
  local rules = json.array()
  for _, rule in ipairs(group.rules) do
    if rule_filter.takes(filter, rule) then
      rules[#rules + 1] = rule
      if rule.alerts and filter.exclude_alerts then rule.alerts = json.array() end
    end
  end
  if #rules == 0 and #group.rules > 0 then return nil end
  group.rules = rules
  return group
end

--- Rule groups; beside them every file of Lua is one.
---@param engine table
---@param filter rule_filter.Filter
---@return table? data
---@return string? message
function prometheus_api.rules(engine, filter)
  local all = file_groups(engine)
  table.move(rule_groups(engine), 1, #engine.rules.groups, #all + 1, all)
  local groups = {}
  for _, group in ipairs(all) do groups[#groups + 1] = filtered(filter, group) end
  table.sort(groups, function(a, b)
    if a.file ~= b.file then return a.file < b.file end
    return a.name < b.name
  end)
  local page, next_token = rule_filter.page(filter, groups)
  if not page then return nil, next_token end
  return { groups = json.array(page), groupNextToken = next_token }
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
  for _, alert in ipairs(alert_rules.active(engine)) do all[#all + 1] = alert_view(alert) end
  return { alerts = all }
end

--- What Grafana asks a data source that it calls Prometheus.
function prometheus_api.buildinfo(version)
  return { version = version, revision = '', branch = '', buildUser = '', buildDate = '',
    goVersion = '' }
end

return prometheus_api
