--- The API of trust and guardrails: why things happened or did not, and what people give back.
--- Every function is as those of server/api.lua.
local check = require 'check'
local storm = require 'engine.storm'
local trust = require 'engine.trust'
local why = require 'engine.why'
local why_not = require 'engine.why_not'

local safety_api = {}

local function refuse(status, message) return nil, { status = status, message = message } end

local function no_playbook(engine, name)
  local near = check.nearest(name, check.names(engine.rules.playbooks))
  return refuse(404, ('there is no playbook "%s"%s'):format(name,
    near and ('; did you mean "%s"?'):format(near) or ''))
end

--- GET /api/v1/plans/ID/why
function safety_api.why_plan(engine, call)
  local data = why.plan(engine, call.id)
  if not data then return refuse(404, 'there is no such plan') end
  return data
end

--- GET /api/v1/incidents/ID/why
function safety_api.why_incident(engine, call)
  local data = why.incident(engine, call.id)
  if not data then return refuse(404, 'there is no such incident') end
  return data
end

--- GET /api/v1/playbooks/NAME/why_not
function safety_api.why_not(engine, call)
  local data = why_not.of(engine, call.id)
  if not data then return no_playbook(engine, call.id) end
  return data
end

--- GET /api/v1/trust
function safety_api.trust(engine) return trust.list(engine) end

--- POST /api/v1/trust/PLAYBOOK/restore
function safety_api.restore_trust(engine, call)
  local def = engine.rules.playbooks[call.id]
  if not def then return no_playbook(engine, call.id) end
  if not trust.restore(engine, call.id, call.identity.name) then
    return refuse(409, ('%s has lost no trust, and its circuit breaker is closed'):format(call.id))
  end
  return trust.view(engine, def)
end

--- GET /api/v1/storm
function safety_api.storm(engine) return storm.view(engine) end

--- POST /api/v1/storm/end
function safety_api.end_storm(engine, call)
  if not storm.stop(engine, call.identity.name) then return refuse(409, 'there is no storm') end
  return storm.view(engine)
end

return safety_api
