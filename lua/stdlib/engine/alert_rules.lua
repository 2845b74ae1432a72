--- The alerts of rule groups as the rest of the engine sees them: what the last evaluations left of
--- each rule, in the store.
local json = require 'perigee.json'

local alert_rules = {}

--- What a rule's last evaluations left: the series of an alert, the samples of a recording rule.
---@param rule groups.Rule
---@return { series?: table<string, signals.Series>, samples?: table[], at?: number }
function alert_rules.state(engine, rule)
  local row = engine.store:row('select state from signals where name = ?', rule.key)
  return row and json.decode(row.state) or {}
end

--- All series of several rules: of a group's, or of those whose alerts have one name.
---@param of { rules: groups.Rule[] }
---@return table<string, signals.Series>
function alert_rules.series(engine, of)
  local all = {}
  for _, rule in ipairs(of.rules) do
    for key, series in pairs(alert_rules.state(engine, rule).series or {}) do
      all[rule.key .. '\3' .. key] = series
    end
  end
  return all
end

---@class alert_rules.Alert
---@field name string
---@field labels table<string, string>       alertname is among them
---@field annotations table<string, string>
---@field value number|string                a text where JSON has no such number
---@field state "pending"|"firing"
---@field active_at number, fired_at? number
---@field partial? boolean                   it rests on a partial answer

--- The pending and firing alerts of a rule, by their labels.
---@param rule groups.Rule
---@return alert_rules.Alert[]
function alert_rules.of(engine, rule)
  local out = {}
  for key, s in pairs(alert_rules.state(engine, rule).series or {}) do
    if s.state ~= 'inactive' then
      out[#out + 1] = { name = rule.name, labels = s.labels, annotations = s.annotations,
        value = s.value or s.odd and s.odd.value, state = s.state, active_at = s.active_at,
        fired_at = s.fired_at, partial = s.partial, key = key }
    end
  end
  table.sort(out, function(a, b) return a.key < b.key end)
  for _, alert in ipairs(out) do alert.key = nil end
  return out
end

--- Those of all rules, in the order of the files.
---@return alert_rules.Alert[]
function alert_rules.active(engine)
  local all = {}
  for _, group in ipairs(engine.rules.groups) do
    for _, rule in ipairs(group.rules) do
      if rule.kind == 'alert' then
        local found = alert_rules.of(engine, rule)
        table.move(found, 1, #found, #all + 1, all)
      end
    end
  end
  return all
end

return alert_rules
