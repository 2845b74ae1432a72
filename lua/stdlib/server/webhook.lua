--- What Alertmanager tells (webhook, version 4): every field is looked at, the alerts are kept, and
--- only then is it told that they are. What it is told that is wrong it drops for good, what could
--- not be kept it sends again.
local alertmanager = require 'alertmanager'
local alerts = require 'engine.alerts'
local check = require 'check'
local clock = require 'perigee.clock'
local json = require 'perigee.json'
local log = require 'log'
local metrics = require 'engine.metrics'
local read_time = require('perigee.series_file').time

local webhook = {}

local MAX_ALERTS = 10000 -- of one request
local TELL_EVERY = 60    -- seconds between two lines about the same

-- -- fields ---------------------------------------------------------------------------------------

local function text(v)
  if type(v) ~= 'string' then return check.expected('a text', v) end
end

local function texts(required)
  return { required = required, default = {}, test = function(v)
    if type(v) ~= 'table' then return check.expected('names and texts', v) end
    for name, value in pairs(v) do
      if type(name) ~= 'string' or name == '' then return 'a name is empty' end
      if type(value) ~= 'string' then
        return ('%s: %s'):format(name, check.expected('a text', value))
      end
    end
  end }
end

--- A moment as Go writes it; the year 1 stands for none.
local function moment(v)
  if type(v) ~= 'string' or not v:find '^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d'
    or not (v:find 'Z$' or v:find '[+-]%d%d:%d%d$') then
    return check.expected('a time such as "2026-01-01T00:00:00Z"', v)
  end
  if v:find '^0001%-' then return nil, false end
  local t = read_time(v)
  if not t then return check.expected('a time such as "2026-01-01T00:00:00Z"', v) end
  return nil, t
end

local status = check.one_of(nil, { 'firing', 'resolved' })

local ALERT = {
  status = check.required(status),
  labels = texts(true),
  annotations = texts(false),
  startsAt = { required = true, test = moment },
  endsAt = { test = moment },
  generatorURL = { default = '', test = text },
  fingerprint = { required = true, test = function(v)
    if type(v) ~= 'string' or not v:find '^%x+$' or #v ~= 16 then
      return check.expected('16 hexadecimal digits', v)
    end
  end },
}

local BODY = {
  version = { required = true, test = function(v)
    if v ~= '4' then return check.expected('"4"', v) end
  end },
  alerts = { required = true, test = function(v)
    if type(v) ~= 'table' or next(v) ~= nil and #v == 0 then return check.expected('a list', v) end
    if #v > MAX_ALERTS then return ('%d alerts; at most %d'):format(#v, MAX_ALERTS) end
  end },
  status = check.required(status),
  receiver = { default = '', test = text },
  groupKey = { default = '', test = text },
  externalURL = { default = '', test = text },
  groupLabels = texts(false),
  commonLabels = texts(false),
  commonAnnotations = texts(false),
  truncatedAlerts = { default = 0, test = function(v)
    if math.tointeger(v) == nil or v < 0 then return check.expected('a number of alerts', v) end
    return nil, math.tointeger(v)
  end },
}

--- The fields of a table that a spec knows, and the first that is wrong. What it does not know is
--- left alone: newer senders say more.
local function read_fields(v, spec, where)
  if type(v) ~= 'table' then return nil, where .. ': ' .. check.expected('an object', v) end
  local out = {}
  for name, rule in pairs(spec) do
    local value = v[name]
    if value == nil and rule.required then
      return nil, ('%s.%s is missing'):format(where, name)
    elseif value == nil then
      out[name] = rule.default
    else
      local message, better = rule.test(value)
      if message then return nil, ('%s.%s: %s'):format(where, name, message) end
      if better ~= nil then out[name] = better else out[name] = value end
    end
  end
  return out
end

-- -- a request ------------------------------------------------------------------------------------

local function read_alert(v, where)
  local a, message = read_fields(v, ALERT, where)
  if not a then return nil, message end
  if next(a.labels) == nil then return nil, where .. '.labels: there is no label' end
  if not a.startsAt then return nil, where .. '.startsAt is missing' end
  return { fingerprint = a.fingerprint:lower(), starts_at = ('%.6f'):format(a.startsAt),
    status = a.status, labels = a.labels, annotations = a.annotations,
    generator_url = a.generatorURL, ends_at = a.endsAt or nil }
end

--- The alerts of a body, each checked; nil and words for the first thing that is wrong.
---@param body any
---@return table[]? alerts
---@return string|table what  is wrong; or the rest of the body
function webhook.read(body)
  local head, message = read_fields(body, BODY, 'the body')
  if not head then return nil, message end
  local list = {}
  for i, v in ipairs(head.alerts) do
    local alert, wrong = read_alert(v, ('alerts[%d]'):format(i))
    if not alert then return nil, wrong end
    list[i] = alert
  end
  return list, head
end

--- Tells, once a minute at most, of alerts whose fingerprint is another than their labels': not
--- Alertmanager's, or changed on the way.
local function tell_of_strange(engine, sender, list)
  local now = clock.now()
  local told = engine.strange_alerts or { n = 0, at = -TELL_EVERY }
  engine.strange_alerts = told
  for _, alert in ipairs(list) do
    if alertmanager.fingerprint(alert.labels) ~= alert.fingerprint then told.n = told.n + 1 end
  end
  if told.n > 0 and math.abs(now - told.at) >= TELL_EVERY then
    log.warn('alerts came with a fingerprint that is not their labels\'',
      { sender = sender, alerts = told.n })
    told.n, told.at = 0, now
  end
end

--- POST /api/v1/webhook/alertmanager
---@param engine table
---@param call api.Call
function webhook.alertmanager(engine, call)
  local list, head = webhook.read(call.body)
  if not list then
    metrics.webhook_alerts:add(1, 'refused')
    log.warn('a webhook request is refused', { sender = call.identity.name, reason = head })
    return nil, { status = 400, message = head }
  end
  if call.identity.role ~= 'alert_sender' then -- a person, who does not approve what comes of it
    for _, alert in ipairs(list) do alert.sender = call.identity.name end
  end
  local counts, message = alerts.receive(engine, list)
  if not counts then
    metrics.webhook_alerts:add(#list, 'failed')
    return nil, { status = 503, message = message }
  end
  for outcome, n in pairs(counts) do metrics.webhook_alerts:add(n, outcome) end
  tell_of_strange(engine, call.identity.name, list)
  if head.truncatedAlerts > 0 then
    metrics.webhook_alerts:add(head.truncatedAlerts, 'truncated')
    log.warn('Alertmanager has left alerts out of a message (max_alerts)',
      { sender = call.identity.name, receiver = head.receiver, alerts = head.truncatedAlerts })
  end
  return { received = #list, stored = counts.stored, repeated = counts.repeated,
    resolved = counts.resolved, duplicate = counts.duplicate, truncated = head.truncatedAlerts }
end

--- GET /api/v1/webhook/alerts?status=&limit=
function webhook.alerts(engine, call)
  local limit = math.tointeger(tonumber(call.fields.limit or 1000)) or 1000
  local out = json.array()
  for i, row in ipairs(alerts.list(engine.store, math.max(1, math.min(limit, 5000)),
    call.fields.status)) do
    out[i] = alerts.view(row)
  end
  return out
end

return webhook
