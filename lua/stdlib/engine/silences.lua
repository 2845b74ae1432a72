--- Silences of Alertmanager: who has silenced what a plan is about wants no action either. They are
--- read every few seconds, and looked up without waiting.
local alertmanager = require 'alertmanager'
local clock = require 'perigee.clock'
local incidents = require 'engine.incidents'
local story = require 'engine.story'

local silences = {}

local FRESH = 5    -- seconds after which they are read again
local STALE = 30   -- seconds after which what was read says nothing

--- Reads them, unless that was done just now. Waits.
---@param engine table
function silences.refresh(engine)
  local client, known = engine.alertmanager, engine.silences
  if not client or known and math.abs(clock.now() - known.at) < FRESH then return end
  local list, failure = client:silences()
  if not list then
    engine.silences = { at = clock.now(), failure = failure.message }
    return
  end
  local active = {}
  for _, silence in ipairs(list) do
    if silence.state == 'active' then active[#active + 1] = silence end
  end
  engine.silences = { at = clock.now(), list = active }
end

--- Keeps them fresh while plans are under way; in a task of its own.
function silences.keep(engine)
  if not engine.alertmanager or engine.reading_silences then return end
  local due = engine.store:row(
    "select 1 as one from plans where state in ('approved', 'executing') limit 1")
  if not due then return end
  engine.reading_silences = true
  engine.run('reading silences', function()
    local _ <close> = setmetatable({}, { __close = function() engine.reading_silences = nil end })
    silences.refresh(engine)
  end)
end

local function with(labels, name, external)
  local out = { alertname = name }
  for label, value in pairs(external) do out[label] = value end
  for label, value in pairs(labels) do out[label] = value end
  return out
end

--- The sets of labels that Alertmanager would know what a plan is about by: of what has triggered
--- it, and of each signal that is odd.
local function label_sets(engine, p)
  local external = engine.config.external_labels
  local incident = p.incident_id and incidents.get(engine.store, p.incident_id)
  if not incident then
    local trigger = (story.of(engine.store, p.id).trigger or { data = {} }).data
    return { with(trigger.labels or {}, trigger.name or p.playbook, external) }
  end
  local sets = { with(incident.labels, incident.name, external) }
  for _, a in ipairs(incident.anomalies) do
    if a.is_anomaly then sets[#sets + 1] = with(a.labels, a.signal, external) end
  end
  return sets
end

--- The silence that is about what a plan is about; nil where there is none.
local function find(engine, p, list)
  for _, labels in ipairs(label_sets(engine, p)) do
    for _, silence in ipairs(list) do
      if alertmanager.is_about(silence, labels) then return silence, labels end
    end
  end
end

--- The gate. Where Alertmanager cannot be asked, nothing happens by itself; what a person has
--- approved does.
---@param engine table
---@param p { id: string, playbook: string, trust: string, incident_id?: string }
---@return string? refusal
---@return string? words
function silences.gate(engine, p)
  if not engine.alertmanager then return nil, 'no Alertmanager is configured' end
  local known = engine.silences or { at = 0, failure = 'it has not been asked yet' }
  if not known.failure and math.abs(clock.now() - known.at) > STALE then
    known = { failure = 'it has not been asked for a while' }
  end
  if known.failure then
    local words = ('the silences of Alertmanager are not known: %s'):format(known.failure)
    if p.trust == 'auto' then return words end
    return nil, words .. '; a person has approved the plan'
  end
  local silence, labels = find(engine, p, known.list)
  if not silence then return nil, ('none of %d silences is about it'):format(#known.list) end
  return ('%s is silenced by %s until %s (silence %s: %s)'):format(labels.alertname,
    silence.createdBy or '?', silence.endsAt, silence.id, (silence.comment or ''):sub(1, 200))
end

return silences
