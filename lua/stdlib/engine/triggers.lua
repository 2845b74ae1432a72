--- What makes playbooks run beside incidents and series: alerts, events of Kubernetes, times.
local alert_triggers = require 'engine.alert_triggers'
local alerts = require 'engine.alerts'
local event_triggers = require 'engine.event_triggers'
local occurrences = require 'engine.occurrences'
local time_triggers = require 'engine.time_triggers'

local triggers = {}

--- Asks the playbooks about all that has happened since.
---@param engine table
function triggers.look(engine)
  alert_triggers.look(engine)
  event_triggers.look(engine)
  time_triggers.look(engine)
  occurrences.prune(engine)
end

--- A generation becomes active: rules may be new to what is there already.
---@param engine table
function triggers.start(engine)
  alerts.offer_again(engine)
  engine.watches = event_triggers.start(engine)
end

--- A generation begins nothing new.
function triggers.stop(engine)
  for _, watch in ipairs(engine.watches) do watch:cancel() end
end

return triggers
