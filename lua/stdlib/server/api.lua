--- The API: what the engine knows, and the few things that people tell it. Every function takes the
--- request, taken apart, and returns data, or nil and a refusal.
local alert_rules = require 'engine.alert_rules'
local approvals = require 'engine.approvals'
local audit = require 'engine.audit'
local clock = require 'perigee.clock'
local daemon = require 'perigee.daemon'
local evaluate = require 'engine.evaluate'
local faults = require 'engine.faults'
local forecasts = require 'engine.forecasts'
local guardrails = require 'engine.guardrails'
local incidents = require 'engine.incidents'
local json = require 'perigee.json'
local plans = require 'engine.plans'
local predictions = require 'engine.predictions'
local prometheus_api = require 'server.prometheus_api'
local rule_filter = require 'server.rule_filter'
local signals = require 'engine.signals'
local storm = require 'engine.storm'
local units = require 'units'

local api = {}

---@class api.Call
---@field fields table<string, string>  of the query, the first of a name
---@field lists table<string, string[]>  all of them
---@field body table                    decoded; {} without one
---@field id? string                    from the path
---@field identity { name: string, role: string }
---@field via string                    "api" or "cli"

local function refuse(status, message) return nil, { status = status, message = message } end

local function limit_of(call, most)
  local n = math.tointeger(tonumber(call.fields.limit or most))
  return n and math.max(1, math.min(n, most)) or most
end

-- -- signals --------------------------------------------------------------------------------------

local function series_view(series)
  local function time(t) return t and clock.text(t) or nil end
  return { labels = series.labels, annotations = series.annotations, state = series.state,
    condition = series.condition,
    value = series.value, is_anomaly = series.condition == 'anomaly',
    anomaly_score = series.anomaly_score or json.null,
    confidence = series.confidence or json.null, reason = series.reason,
    active_at = time(series.active_at),
    fired_at = time(series.fired_at), resolved_at = time(series.resolved_at),
    partial = series.partial }
end

--- What a signal as a whole is like, where that is more than its series tell.
local function condition_of(row, state)
  if row.health ~= 'ok' then return row.health == 'err' and 'error' or 'unknown' end
  return next(state.series or {}) == nil and 'no_data' or 'ok'
end

local function signal_view(engine, def)
  local row = evaluate.row(engine, def.name)
  local state, series = json.decode(row.state), json.array()
  for _, s in pairs(state.series or {}) do series[#series + 1] = series_view(s) end
  table.sort(series, function(a, b) return json.encode(a.labels) < json.encode(b.labels) end)
  return { name = def.name, state = row.evaluated_at > 0 and signals.highest(state) or 'unknown',
    health = row.health,
    condition = condition_of(row, state), error = row.error ~= '' and row.error or nil,
    query = def.query,
    every = units.duration_text(def.every), detector = def.detector.name, file = def.file,
    line = def.line,
    last_evaluation = row.evaluated_at > 0 and clock.text(row.evaluated_at) or nil,
    evaluation_seconds = row.seconds,
    switched_off = faults.switched_off(engine.store, 'signal/' .. def.name, def.file_digest),
    series = series }
end

--- GET /api/v1/signals
function api.signals(engine)
  local names, out = {}, json.array()
  for name in pairs(engine.rules.signals) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do out[i] = signal_view(engine, engine.rules.signals[name]) end
  return out
end

--- GET /api/v1/forecasts
function api.forecasts(engine) return forecasts.list(engine) end

--- GET /api/v1/predictions
function api.predictions(engine) return predictions.list(engine) end

--- Switches a rule on that was switched off for its faults: body { rule = "signal/…" }.
function api.enable_rule(engine, call)
  if type(call.body.rule) ~= 'string' then
    return refuse(400, 'expected {"rule": "signal/NAME"}')
  end
  if not faults.switch_on(engine.store, call.body.rule, call.identity.name) then
    return refuse(409, ('%s is not switched off'):format(call.body.rule))
  end
  return { rule = call.body.rule, enabled = true }
end

-- -- incidents ------------------------------------------------------------------------------------

--- GET /api/v1/incidents?state=&limit=
function api.incidents(engine, call)
  local out = json.array()
  for i, incident in ipairs(incidents.list(engine.store, limit_of(call, 500), call.fields.state)) do
    out[i] = incidents.view(engine.store, incident)
  end
  return out
end

--- GET /api/v1/incidents/ID
function api.incident(engine, call)
  local incident = incidents.get(engine.store, call.id)
  if not incident then return refuse(404, 'there is no such incident') end
  return incidents.view(engine.store, incident)
end

--- POST /api/v1/incidents/ID/acknowledge
function api.acknowledge(engine, call)
  local incident, message = incidents.acknowledge(engine, call.id, call.identity.name)
  if not incident then
    return refuse(incidents.get(engine.store, call.id) and 409 or 404, message)
  end
  return incidents.view(engine.store, incident)
end

-- -- plans ----------------------------------------------------------------------------------------

local function plan_list(engine, call, state)
  local out = json.array()
  for i, p in ipairs(plans.list(engine.store, limit_of(call, 500), state)) do
    out[i] = plans.view(engine.store, p)
  end
  return out
end

--- GET /api/v1/plans?state=&limit=
function api.plans(engine, call) return plan_list(engine, call, call.fields.state) end

--- GET /api/v1/approvals: the plans that wait for a decision
function api.approvals(engine, call)
  approvals.expire(engine)
  return plan_list(engine, call, 'pending')
end

--- GET /api/v1/plans/ID
function api.plan(engine, call)
  local p = plans.get(engine.store, call.id)
  if not p then return refuse(404, 'there is no such plan') end
  return plans.view(engine.store, p)
end

local function decide(decision)
  return function(engine, call)
    if type(call.body.digest) ~= 'string' then
      return refuse(400,
        'expected {"digest": "sha256:…"}: the digest of the plan that is decided about')
    end
    if call.body.reason ~= nil
      and (type(call.body.reason) ~= 'string' or #call.body.reason > 1000) then
      return refuse(400, 'the reason is a text of at most 1000 bytes')
    end
    local p, refusal = approvals.decide(engine, call.id, decision,
      { who = call.identity.name, via = call.via,
      digest = call.body.digest, reason = call.body.reason })
    if not p then return nil, refusal end
    engine.poke()
    return plans.view(engine.store, p)
  end
end
api.approve = decide 'approved'
api.reject = decide 'rejected'

-- -- the operator ---------------------------------------------------------------------------------

--- GET /api/v1/audit?after=&limit=
function api.audit(engine, call)
  local after = math.tointeger(tonumber(call.fields.after or 0))
  if not after or after < 0 then return refuse(400, 'after is the number of a record') end
  local head, sequence = audit.head(engine.store)
  return { records = audit.list(engine.store, after, limit_of(call, 1000)), head = head,
    sequence = sequence }
end

--- POST /api/v1/kill_switch
function api.kill_switch(engine, call)
  local on = call.body.on
  if type(on) ~= 'boolean' then return refuse(400, 'expected {"on": true} or {"on": false}') end
  local ok, message = guardrails.set_kill_switch(engine, on, call.identity.name)
  if not ok then return refuse(500, message) end
  return { on = guardrails.killed(engine.config) ~= nil, reason = guardrails.killed(engine.config) }
end

--- How the last reload went, for people: `outcome`, `at`, and the lines that were wrong.
local function last_reload()
  local last = daemon.last_reload()
  return { outcome = last.outcome, at = clock.text(last.at), problems = json.array(last.problems) }
end

--- How the rules of rule groups are: their alerts, and those that fail.
local function group_status(engine)
  local alerts, failing = { firing = 0, pending = 0 }, json.array()
  for _, alert in ipairs(alert_rules.active(engine)) do
    alerts[alert.state] = alerts[alert.state] + 1
  end
  for _, group in ipairs(engine.rules.groups) do
    for _, rule in ipairs(group.rules) do
      local row = evaluate.row(engine, rule.key)
      if row.health == 'err' then
        failing[#failing + 1] = { rule = ('%s/%s'):format(rule.kind, rule.name),
          group = group.name, file = group.source, reason = row.error }
      end
    end
  end
  return alerts, failing
end

--- GET /api/v1/status
function api.status(engine)
  local function count(set)
    local n = 0
    for _ in pairs(set) do n = n + 1 end
    return n
  end
  local head, records = audit.head(engine.store)
  local rules = engine.rules
  local alerts, failing = group_status(engine)
  local off = json.array()
  local rows = engine.store:rows [[select rule, reason from rule_faults
    where switched_off_at is not null order by rule]]
  for i, row in ipairs(rows) do
    off[i] = { rule = row.rule, reason = row.reason }
  end
  return { version = daemon.version(), started_at = clock.text(daemon.started_at()),
    rules_loaded_at = clock.text(rules.loaded_at),
    last_reload = last_reload(), source = engine.config.source.prometheus.url,
    dry_run = engine.config.guardrails.dry_run,
    kill_switch = guardrails.killed(engine.config) or false, storm = storm.look(engine) or false,
    signals = count(rules.signals),
    forecasts = count(rules.forecasts), predictions = count(rules.predictions),
    incidents_declared = count(rules.incidents), playbooks = count(rules.playbooks),
    rule_groups = #rules.groups, alerts = alerts, rules_failing = failing,
    rule_files = #rules.files,
    switched_off = off, incidents_active = #incidents.active(engine.store),
    approvals_pending =
    engine.store:row("select count(*) as n from plans where state = 'pending'").n,
    audit_head = head, audit_records = records }
end

--- GET /api/v1/rules
function api.rules(engine, call)
  local filter, message = rule_filter.read(call.fields, call.lists)
  local found
  if filter then found, message = prometheus_api.rules(engine, filter) end
  if not found then return refuse(400, message) end
  return found
end
--- GET /api/v1/alerts
function api.alerts(engine) return prometheus_api.alerts(engine) end
--- GET /api/v1/status/buildinfo
function api.buildinfo() return prometheus_api.buildinfo(daemon.version()) end

return api
