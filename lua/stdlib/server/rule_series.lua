--- /metrics/rules: what the rules of rule groups made last, as Prometheus would have written it:
--- the series of recording rules, ALERTS and ALERTS_FOR_STATE. What is there no more is not told
--- of, so that who scrapes it marks it stale.
local alert_rules = require 'engine.alert_rules'
local check = require 'check'
local clock = require 'perigee.clock'
local prometheus = require 'prometheus'

local rule_series = {}

rule_series.TYPE = 'text/plain; version=0.0.4; charset=utf-8'

-- Seconds for which a result stands when no other came: as long as Prometheus looks back.
local LOOKBACK = 300

local LABEL, METRIC = '^[%a_][%w_]*$', '^[%a_:][%w_:]*$' -- what the text format has room for

local ESCAPES = { ['\\'] = '\\\\', ['"'] = '\\"', ['\n'] = '\\n' }

--- One line; nil where a name does not go into one.
local function line(name, labels, value)
  if not name:find(METRIC) then return nil end
  local parts = check.names(labels)
  for i, label in ipairs(parts) do
    if not label:find(LABEL) then return nil end
    parts[i] = ('%s="%s"'):format(label, labels[label]:gsub('[\\"\n]', ESCAPES))
  end
  return ('%s{%s} %s'):format(name, table.concat(parts, ','), value)
end

local function add(families, name, labels, value)
  local text = line(name, labels, value)
  if not text then return end
  families[name] = families[name] or {}
  -- Two rules may make one series: a scrape with it twice would be refused.
  if not families[name][text:match '^(.*) '] then
    families[name][text:match '^(.*) '] = true
    table.insert(families[name], text)
  end
end

local function add_alerts(engine, families)
  for _, alert in ipairs(alert_rules.active(engine)) do
    local labels = { alertstate = alert.state }
    for name, value in pairs(alert.labels) do labels[name] = labels[name] or value end
    add(families, 'ALERTS', labels, '1')
    add(families, 'ALERTS_FOR_STATE', alert.labels, prometheus.number_text(alert.active_at))
  end
end

local function add_recorded(engine, families)
  local now = clock.now()
  for _, group in ipairs(engine.rules.groups) do
    for _, rule in ipairs(group.rules) do
      local state = rule.kind == 'record' and alert_rules.state(engine, rule) or {}
      if state.at and now - state.at < math.max(LOOKBACK, 2 * group.every) then
        for _, s in ipairs(state.samples) do add(families, rule.name, s.labels, s.value) end
      end
    end
  end
end

--- The text of the page.
---@return string
function rule_series.expose(engine)
  local families, out = {}, {}
  add_alerts(engine, families)
  add_recorded(engine, families)
  for _, name in ipairs(check.names(families)) do
    out[#out + 1] = ('# TYPE %s %s\n'):format(name, name:find '^ALERTS' and 'gauge' or 'untyped')
    for _, text in ipairs(families[name]) do out[#out + 1] = text .. '\n' end
  end
  return table.concat(out)
end

return rule_series
