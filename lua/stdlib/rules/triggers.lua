--- What makes a playbook run: what a rule file can write as `when`.
local calendar = require 'calendar'
local check = require 'check'

local triggers = {}

local EXPECTED = 'a trigger such as incident "name", alert "Name" or metric { query = … }'

local function metric(ctx)
  return {
    query = check.required(check.string()),
    hold_for = check.duration '0',
    every = { default = ctx.every, test = check.duration(nil, { min = 1 }).test },
  }
end

-- -- alerts ---------------------------------------------------------------------------------------

--- `alert "Name" { severity = "critical" }`, or with `labels = { … }`.
local function alert(o)
  if type(o.name) ~= 'string' or o.name == '' then
    return check.expected('the name of an alert: alert "Name"', o.name)
  end
  local labels = o.labels == nil and {} or o.labels
  if type(labels) == 'table' and type(labels.labels) == 'table' and next(labels, 'labels') == nil
    and next(labels) == 'labels' then
    labels = labels.labels
  end
  local message, _, nested = check.map_of(check.string()).test(labels)
  if message then return message, nil, nested end
  return nil, { kind = 'alert', name = o.name, labels = labels }
end

-- -- events of Kubernetes -------------------------------------------------------------------------

local EVENT = {
  reason = check.required(check.string()),
  type = check.one_of('Warning', { 'Warning', 'Normal' }),
  kind = check.string(),
  namespace = check.string(),
  name = check.string(),
  message = check.string(),
}

-- -- times ----------------------------------------------------------------------------------------

local function time_of_day(v)
  local seconds = calendar.seconds_of_day(v)
  if not seconds or seconds == 86400 then
    return check.expected('a time of day such as "03:00"', v)
  end
  return nil, seconds
end

local AT = {
  at = { required = true, test = time_of_day },
  timezone = { default = 'UTC', test = calendar.check_zone },
  days = check.list_of(check.one_of(nil, calendar.DAYS), calendar.DAYS),
}
local interval = check.duration(nil, { min = 1 })

local function every(o)
  if type(o) == 'string' or type(o) == 'table' and #o == 1 and next(o, 1) == nil then
    local message, seconds = interval.test(type(o) == 'string' and o or o[1])
    return message, { kind = 'every', every = seconds }
  end
  if type(o) ~= 'table' then return check.expected('every "5m", or every { at = "03:00" }', o) end
  local values, problems = check.apply(o, AT)
  if #problems > 0 then return 'invalid', nil, problems end
  if #values.days == 0 then return '"days" holds no day; without it, it is every day' end
  values.kind = 'every'
  return nil, values
end

-- -- all of them ----------------------------------------------------------------------------------

local function of_options(kind, first, spec)
  return function(o)
    if o ~= nil and type(o) ~= 'table' then
      return check.expected(('%s { %s = … }'):format(kind, first), o)
    end
    local values, problems = check.apply(o or {}, spec)
    if #problems > 0 then return 'invalid', nil, problems end
    values.kind, values.event_kind = kind, values.kind
    return nil, values
  end
end

local REFERENCES = { incident = true, signal = true, forecast = true, prediction = true }

--- The rule for a playbook's `when`.
---@param ctx schema.Context
---@return check.Rule
function triggers.rule(ctx)
  local readers = { alert = alert, every = every,
    metric = of_options('metric', 'query', metric(ctx)),
    kubernetes_event = of_options('kubernetes_event', 'reason', EVENT) }
  return { required = true, test = function(v)
    if type(v) == 'table' and v.kind == 'reference' and REFERENCES[v.to]
      and type(v.name) == 'string' then
      return nil, { kind = v.to, name = v.name }
    elseif type(v) == 'table' and v.kind == 'trigger' and readers[v.name] then
      local options = v.options
      if v.name == 'alert' and type(options) ~= 'table' then options = { name = options } end
      return readers[v.name](options)
    end
    return check.expected(EXPECTED, v)
  end }
end

--- A made-up event of a trigger, to try a plan with. An incident's is made elsewhere.
---@param when table
function triggers.sample(when)
  local event = { trigger = when.kind, labels = {}, annotations = {}, time = 1767225600,
    since = '2026-01-01T00:00:00.000Z' }
  if when.kind == 'alert' then
    for name, value in pairs(when.labels) do event.labels[name] = value end
    event.labels.alertname, event.name, event.source = when.name, when.name, 'alertmanager'
  elseif when.kind == 'kubernetes_event' then
    event.labels = { namespace = when.namespace or 'example', kind = when.event_kind or 'Pod',
      name = when.name or 'example', reason = when.reason, type = when.type }
    event.annotations.message = when.message or 'made up to try the plan'
    event.source, event.value = 'kubernetes', 1
  elseif when.kind ~= 'every' then
    event.value, event.source = 1, 'prometheus'
  end
  return event
end

return triggers
