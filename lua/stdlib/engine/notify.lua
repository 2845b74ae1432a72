--- Calling a person: an alert to Alertmanager, where there is one, and always the log, the audit
--- trail and a metric.
local async = require 'async'
local audit = require 'engine.audit'
local incidents = require 'engine.incidents'
local log = require 'log'
local metrics = require 'engine.metrics'

local notify = {}

--- Calls for a person. Returns at once; Alertmanager is told in a task of its own.
---@param engine table
---@param p { id: string, playbook: string, incident_id?: string }
---@param message string
function notify.page(engine, p, message)
  log.error('a person is needed', { plan = p.id, playbook = p.playbook, incident = p.incident_id,
    reason = message })
  audit.append(engine.store, 'page', { plan = p.id, playbook = p.playbook, incident = p.incident_id,
    reason = message })
  if not engine.alertmanager then
    metrics.pages:add(1, 'nobody')
    return
  end
  local labels = { alertname = 'PerigeePage', playbook = p.playbook, plan = p.id,
    severity = 'critical' }
  local incident = p.incident_id and incidents.get(engine.store, p.incident_id)
  for name, value in pairs(incident and incident.labels or {}) do
    labels[name] = labels[name] or value
  end
  async.spawn(function()
    local alert = { labels = labels,
      annotations = { summary = message, incident = p.incident_id } }
    local ok, why = engine.alertmanager:post { alert }
    metrics.pages:add(1, ok and 'sent' or 'failed')
    if not ok then log.error('Alertmanager could not be told', { plan = p.id, reason = why }) end
  end)
end

return notify
