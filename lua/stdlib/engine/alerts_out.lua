--- Alerts of rule groups on their way to Alertmanager, as Prometheus sends them: those that fire
--- again and again, so that who misses them tells so; those that are over for a while. The queue is
--- in memory: what is lost with it is due again within the minute.
local async = require 'async'
local clock = require 'perigee.clock'
local http = require 'http'
local log = require 'log'
local metrics = require 'engine.metrics'

local alerts_out = {}

local RESEND = 60           -- seconds until the same is sent again
local KEEP_RESOLVED = 900   -- seconds that a resolution is sent again
local BATCH, QUEUE = 256, 10000

-- -- what is due ----------------------------------------------------------------------------------

--- Whether a series is to be told of at ts: it has changed since, or it is a while ago.
local function is_due(series, ts)
  local changed
  if series.state == 'firing' then
    changed = series.fired_at
  elseif series.state == 'inactive' and series.resolved_at
    and ts - series.resolved_at <= KEEP_RESOLVED then
    changed = series.resolved_at
  end
  if not changed then return false end
  local sent = series.sent_at
  return sent == nil or sent < changed or sent > ts or sent + RESEND <= ts
end

--- Before Prometheus 3 and its Alertmanager a name with other characters makes them refuse the
--- whole batch.
local function plain_name(name) return (name:gsub('[^%w_]', '_')) end

local function alert_of(engine, series, url, ends)
  local labels = {}
  for name, value in pairs(engine.config.external_labels) do labels[name] = value end
  for name, value in pairs(series.labels) do labels[plain_name(name)] = value end
  local annotations = {}
  for name, value in pairs(series.annotations or {}) do
    if value ~= '' then annotations[plain_name(name)] = value end
  end
  return { labels = labels, annotations = annotations, startsAt = clock.text(series.fired_at),
    endsAt = clock.text(ends), generatorURL = url }
end

--- Where the expression of a rule can be looked at: at the source.
local function graph_url(engine, rule)
  return ('%s/graph?g0.expr=%s&g0.tab=1'):format(engine.source.url:gsub('/+$', ''),
    http.escape(rule.query))
end

--- The alerts of a rule that are to be sent, marked in its state as sent; nil without an
--- Alertmanager, or where there are none.
---@param engine table
---@param group groups.Group
---@param rule groups.Rule
---@param state { series: table<string, signals.Series> }
---@param ts number  that was evaluated
---@return alertmanager.Alert[]?
function alerts_out.due(engine, group, rule, state, ts)
  if not engine.alerts_out then return nil end
  local out, url = {}, graph_url(engine, rule)
  for _, series in pairs(state.series) do
    if is_due(series, ts) then
      series.sent_at = ts
      local ends = series.state == 'firing' and ts + 4 * math.max(group.every, RESEND)
        or series.resolved_at
      out[#out + 1] = alert_of(engine, series, url, ends)
    end
  end
  return out[1] and out
end

--- The resolutions of what fires in the state of a rule that is there no more; nil as in due().
---@return alertmanager.Alert[]?
function alerts_out.resolved(engine, state, now)
  if not engine.alerts_out then return nil end
  local out = {}
  for _, series in pairs(state.series or {}) do
    if series.state == 'firing' then out[#out + 1] = alert_of(engine, series, nil, now) end
  end
  return out[1] and out
end

-- -- the queue ------------------------------------------------------------------------------------

local Queue = {}
Queue.__index = Queue

--- Sends what is waiting, in batches. What Alertmanager does not take is told and counted, and due
--- again before long.
local function drain(self)
  local _ <close> = setmetatable({}, { __close = function() self.busy = false end })
  while #self.waiting > 0 do
    local n = math.min(BATCH, #self.waiting)
    local batch = table.move(self.waiting, 1, n, 1, {})
    table.move(self.waiting, n + 1, #self.waiting + n, 1)
    metrics.notifications_queue:set(#self.waiting)
    local ok, why = self.client:post(batch)
    if ok then
      metrics.notifications_sent:add(n)
    else
      metrics.notifications_failed:add(n)
      log.error('alerts could not be sent to Alertmanager', { alerts = n, reason = why })
    end
  end
end

--- Adds alerts and returns at once. Of too many the oldest are dropped.
---@param alerts alertmanager.Alert[]
function Queue:add(alerts)
  table.move(alerts, 1, #alerts, #self.waiting + 1, self.waiting)
  local over = #self.waiting - QUEUE
  if over > 0 then
    table.move(self.waiting, over + 1, #self.waiting + over, 1)
    metrics.notifications_dropped:add(over)
    log.error('the queue of alerts is full', { dropped = over })
  end
  metrics.notifications_queue:set(#self.waiting)
  if not self.busy then
    self.busy = true
    async.spawn(drain, self)
  end
end

--- The queue of an engine; nil where there is no Alertmanager.
---@param client? table  of alertmanager.connect()
---@return { add: fun(self, alerts: alertmanager.Alert[]) }?
function alerts_out.queue(client)
  return client and setmetatable({ client = client, waiting = {} }, Queue)
end

return alerts_out
