--- Alerts as triggers: those that the webhook has brought, those of our own rule groups, and those
--- that the source says it has. The same alert may come by each of these ways; it is one trigger.
local alert_rules = require 'engine.alert_rules'
local alerts = require 'engine.alerts'
local clock = require 'perigee.clock'
local fingerprint = require('alertmanager').fingerprint
local log = require 'log'
local occurrences = require 'engine.occurrences'
local prometheus = require 'prometheus'
local read_time = require('perigee.series_file').time

local alert_triggers = {}

local AT_ONCE = 200 -- alerts that are looked at in one turn
local MOST = 10000  -- alerts of the source
local SLACK = 1     -- seconds by which the clocks of two ways may differ

---@class alert_triggers.Alert
---@field labels table<string, string>  alertname is among them
---@field annotations table<string, string>
---@field value? number|string
---@field since number      when it began to fire; of one that was looked up, when it became active
---@field source "alertmanager"|"rules"|"prometheus"
---@field occurrence string
---@field partial? boolean
---@field sender? string    the person who has sent it

-- -- the three ways -------------------------------------------------------------------------------

local function of_webhook(row)
  return { labels = row.labels, annotations = row.annotations, since = row.starts_at,
    source = 'alertmanager', sender = row.sender ~= '' and row.sender or nil,
    occurrence = ('alert/%s/%.6f'):format(row.fingerprint, row.starts_at) }
end

local function looked_up(labels, annotations, value, since, source)
  return { labels = labels, annotations = annotations or {}, value = value, since = since,
    source = source, occurrence = ('%s/%s/%.3f'):format(source, fingerprint(labels), since) }
end

--- Those of our own rule groups that fire, by their names.
local function of_rules(engine, names)
  local out = {}
  for _, a in ipairs(alert_rules.active(engine)) do
    if a.state == 'firing' and names[a.name] then
      local alert = looked_up(a.labels, a.annotations, a.value, a.active_at, 'rules')
      alert.partial = a.partial
      out[#out + 1] = alert
    end
  end
  return out
end

--- One alert of the source's /api/v1/alerts, or nil where it does not fire or is none.
local function of_source(item)
  if type(item) ~= 'table' or item.state ~= 'firing' or type(item.labels) ~= 'table'
    or type(item.activeAt) ~= 'string' then
    return nil
  end
  local since = read_time(item.activeAt)
  if not since or type(item.labels.alertname) ~= 'string' then return nil end
  for name, value in pairs(item.labels) do
    if type(name) ~= 'string' or type(value) ~= 'string' then return nil end
  end
  local value = type(item.value) == 'string' and prometheus.number(item.value)
  return looked_up(item.labels, type(item.annotations) == 'table' and item.annotations or {},
    value or nil, since, 'prometheus')
end

--- Asks the source. What it does not say is not known to be over: what is known stays.
local function poll(engine)
  local data, failure = engine.source:get 'alerts'
  local list = type(data) == 'table' and data.alerts
  if type(list) ~= 'table' then
    local words = failure and failure.message or 'the answer has no list of alerts'
    if engine.source_alerts_failure ~= words then
      engine.source_alerts_failure = words
      log.warn('the source does not tell its alerts', { reason = words })
    end
    return
  end
  engine.source_alerts_failure = nil
  local out = {}
  for i = 1, math.min(#list, MOST) do out[#out + 1] = of_source(list[i]) end
  engine.source_alerts = out
  engine.poke()
end

--- Asks the source once an evaluation interval, in a task of its own.
local function keep_polling(engine)
  local last, now = engine.source_alerts_at, clock.now()
  if last and math.abs(now - last) < engine.config.evaluation_interval then return end
  engine.source_alerts_at = now
  engine.run('the alerts of the source', poll, engine)
end

-- -- the same alert -------------------------------------------------------------------------------

--- Whether all labels of one are among the other's: on the way to Alertmanager external labels are
--- added.
local function is_within(a, b)
  for name, value in pairs(a) do
    if b[name] ~= value then return false end
  end
  return true
end

--- Whether two alerts that fire now are one. What came by the webhook began to fire when it had
--- been active for a while; what became active after that is another.
local function is_same(a, b)
  if a.source == b.source then return false end
  if not is_within(a.labels, b.labels) and not is_within(b.labels, a.labels) then return false end
  if a.source == 'alertmanager' then return b.since <= a.since + SLACK end
  if b.source == 'alertmanager' then return a.since <= b.since + SLACK end
  return true
end

local function asked_as_another(engine, def, alert, others)
  for _, other in ipairs(others) do
    if is_same(alert, other) and occurrences.is_done(engine, def, other.occurrence) then
      return true
    end
  end
  return false
end

-- -- asking ---------------------------------------------------------------------------------------

local function matches(def, labels)
  if labels.alertname ~= def.when.name then return false end
  return is_within(def.when.labels, labels)
end

--- Asks a playbook about an alert. True when that is done.
local function offer(engine, def, alert, others)
  if occurrences.is_done(engine, def, alert.occurrence) then return true end
  if asked_as_another(engine, def, alert, others) then
    occurrences.mark(engine, def, alert.occurrence)
    return true
  end
  return occurrences.offer(engine, def, alert.occurrence, { trigger = 'alert',
    name = alert.labels.alertname, labels = alert.labels, annotations = alert.annotations,
    value = alert.value, since = clock.text(alert.since), source = alert.source,
    time = clock.now() }, prometheus.label_key(alert.labels),
    { partial = alert.partial, requester = alert.sender })
end

--- The playbooks that wait for alerts, by the alert's name.
local function waiting(engine)
  local by_name
  for _, def in pairs(engine.rules.playbooks) do
    if def.when.kind == 'alert' then
      by_name = by_name or {}
      by_name[def.when.name] = by_name[def.when.name] or {}
      table.insert(by_name[def.when.name], def)
    end
  end
  return by_name
end

--- Asks everybody who waits for an alert. True when that is done.
local function offer_all(engine, by_name, alert, others)
  local done = true
  for _, def in ipairs(by_name[alert.labels.alertname] or {}) do
    if matches(def, alert.labels) then done = offer(engine, def, alert, others) and done end
  end
  return done
end

--- Asks the playbooks that wait for alerts about those that fire.
---@param engine table
function alert_triggers.look(engine)
  local by_name = waiting(engine)
  if not by_name then return end
  keep_polling(engine)
  local looked = of_rules(engine, by_name)
  for _, alert in ipairs(engine.source_alerts or {}) do
    if by_name[alert.labels.alertname] then looked[#looked + 1] = alert end
  end
  for _, row in ipairs(alerts.new(engine.store, AT_ONCE)) do
    if offer_all(engine, by_name, of_webhook(row), looked) then
      alerts.offered(engine.store, row.id)
    end
  end
  local told = {} -- by the webhook, by name
  for _, alert in ipairs(looked) do
    local name = alert.labels.alertname
    if not told[name] then
      told[name] = table.move(looked, 1, #looked, 1, {})
      for _, row in ipairs(alerts.firing(engine.store, name)) do
        table.insert(told[name], of_webhook(row))
      end
    end
    offer_all(engine, by_name, alert, told[name])
  end
end

return alert_triggers
