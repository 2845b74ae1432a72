--- Calling a person: an alert to Alertmanager, where there is one, and always the log, the audit
--- trail and a metric. A call is a row until Alertmanager has confirmed it: neither a crash nor an
--- Alertmanager that is down for a while loses one.
local async = require 'async'
local audit = require 'engine.audit'
local clock = require 'perigee.clock'
local incidents = require 'engine.incidents'
local json = require 'perigee.json'
local log = require 'log'
local metrics = require 'engine.metrics'

local notify = {}

local AGAIN = 60     -- seconds until who could not be told is told again
local GIVE_UP = 86400

local function alert_of(engine, p, message)
  local labels = { alertname = 'PerigeePage', playbook = p.playbook, plan = p.id,
    severity = 'critical' }
  local incident = p.incident_id and incidents.get(engine.store, p.incident_id)
  for name, value in pairs(incident and incident.labels or {}) do
    labels[name] = labels[name] or value
  end
  return { labels = labels, annotations = { summary = message, incident = p.incident_id },
    startsAt = clock.text(clock.now()) }
end

--- Calls for a person, in the transaction of what it is about: neither is there without the other.
---@param engine table
---@param p { id: string, playbook: string, incident_id?: string }
---@param message string
function notify.page(engine, p, message)
  local store = engine.store
  log.error('a person is needed', { plan = p.id, playbook = p.playbook, incident = p.incident_id,
    reason = message })
  store:transaction(function()
    audit.append(store, 'page', { plan = p.id, playbook = p.playbook, incident = p.incident_id,
      reason = message })
    if engine.alertmanager then
      store:exec('insert into pages (plan_id, alert, created_at, due_at) values (?, ?, ?, ?)', p.id,
        json.encode(alert_of(engine, p, message)), clock.now(), clock.now())
    end
  end)
  if not engine.alertmanager then metrics.pages:add(1, 'nobody') end
end

local function tell(engine, row)
  local ok, why = engine.alertmanager:post { json.decode(row.alert) }
  metrics.pages:add(1, ok and 'sent' or 'failed')
  if not ok then
    log.error('Alertmanager could not be told', { plan = row.plan_id, reason = why })
  end
  if ok or clock.now() - row.created_at > GIVE_UP then
    engine.store:exec('delete from pages where id = ?', row.id)
  end
end

--- Tells Alertmanager what it has not confirmed. Returns at once. It may be told twice: it knows an
--- alert by its labels.
function notify.deliver(engine)
  if not engine.alertmanager then return end
  local store, now = engine.store, clock.now()
  for _, row in ipairs(store:rows('select * from pages where due_at <= ? or due_at > ?', now,
    now + AGAIN)) do
    store:exec('update pages set due_at = ? where id = ?', now + AGAIN, row.id)
    async.spawn(tell, engine, row)
  end
end

return notify
