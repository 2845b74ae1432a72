--- What was asked and decided about a plan, at each point of its life: kept beside it, so that
--- `perigee why` can tell later what was known then.
local clock = require 'perigee.clock'
local excerpt = require 'excerpt'
local json = require 'perigee.json'

local story = {}

local MOST_ANOMALIES, MOST_LABELS, MOST_WORDS = 10, 30, 500

-- Annotations in which people are told what is the matter; the first that is there counts.
local WORDS = { 'summary', 'message', 'description' }

local function some_labels(labels)
  local out, n = {}, 0
  for name, value in pairs(labels or {}) do
    n = n + 1
    if n <= MOST_LABELS then out[name] = value end
  end
  return out
end

--- Of an event what made the playbook act: small, whatever the event holds.
---@param event table  as the playbook's function was given it
function story.trigger(event)
  local out = { labels = some_labels(event.labels) }
  for name, value in pairs(event) do
    local is_number = type(value) == 'number' and value == value and math.abs(value) < math.huge
    if type(value) == 'string' or is_number then out[name] = value end
  end
  for _, name in ipairs(WORDS) do
    local words = (event.annotations or {})[name]
    if not out.summary and type(words) == 'string' and words ~= '' then
      out.summary = excerpt.head(words, MOST_WORDS)
    end
  end
  local incident = event.incident
  if not incident then return out end
  local anomalies = json.array()
  for i, a in ipairs(incident.anomalies) do
    if i > MOST_ANOMALIES then break end
    anomalies[i] = { signal = a.signal, value = a.value, reason = a.reason,
      labels = some_labels(a.labels) }
  end
  out.incident = { id = incident.id, name = incident.name, opened_at = incident.opened_at,
    anomaly_count = incident.anomaly_count, anomalies = anomalies }
  return out
end

--- Keeps what happened at a point; what was there of an earlier time goes.
---@param store perigee.Store
---@param plan_id string
---@param point "trigger"|"trust"|"planning"|"start"|"between"
---@param data table
function story.tell(store, plan_id, point, data)
  store:relaxed(function()
    store:exec('insert or replace into stories (plan_id, point, at, data) values (?, ?, ?, ?)',
      plan_id, point, clock.now(), json.encode(data))
  end)
end

--- Keeps what a plan brings along when it is made.
---@param p { id: string, story?: table<string, table> }
function story.keep(store, p)
  for point, data in pairs(p.story or {}) do story.tell(store, p.id, point, data) end
end

--- All that is kept of a plan, by point: { at, data }.
---@return table<string, { at: number, data: table }>
function story.of(store, plan_id)
  local out = {}
  for _, row in ipairs(store:rows('select point, at, data from stories where plan_id = ?',
    plan_id)) do
    out[row.point] = { at = row.at, data = json.decode(row.data) }
  end
  return out
end

return story
