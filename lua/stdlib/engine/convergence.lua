--- Several odd signals into one incident. Pure: from the series of the signals that an incident
--- names to the groups that satisfy it, whatever the order in which they came.
local convergence = {}

--- The group that a series belongs to: the values of group_by, from the series' labels, else from
--- those that the declaration gives; a missing label is "".
---@return string key, table<string, string> labels
function convergence.group(group_by, labels, declared)
  local parts, group = {}, {}
  for i, name in ipairs(group_by) do
    local value = labels[name] or declared[name] or ''
    parts[i], group[name] = name .. '\1' .. value, value
  end
  return table.concat(parts, '\2'), group
end

--- Whether a series fired at any time in [from, to].
local function fired_within(series, from, to)
  if not series.firing_from or series.firing_from > to then return false end
  return series.firing_to == nil or series.firing_to >= from
end

--- A series as an incident shows it: by what made it odd, also when it is odd no more.
local function anomaly_of(signal, series)
  local odd = series.odd or series
  return { signal = signal, labels = series.labels, is_anomaly = series.state == 'firing',
    value = odd.value, anomaly_score = odd.anomaly_score, confidence = odd.confidence,
    reason = odd.reason, since = series.firing_from }
end

---@class convergence.Group
---@field key string
---@field labels table<string, string>
---@field anomalies table[]   the series that count, by signal, then by time
---@field signals integer     how many different signals they are of
---@field firing integer      how many of the series fire now
---@field first number        when the first of them fired
---@field partial boolean     some of it rests on partial answers

--- The groups of an incident at a time.
---@param def { signals: string[], group_by: string[], within: number }
---@param states table<string, { series: table, labels: table }>  by signal; labels: declared
---@param now number
---@return table<string, convergence.Group>
function convergence.groups(def, states, now)
  local groups = {}
  for _, name in ipairs(def.signals) do
    local counted = {}
    for _, series in pairs(states[name] and states[name].series or {}) do
      if fired_within(series, now - def.within, now) then
        local key, labels = convergence.group(def.group_by, series.labels,
          states[name].labels or {})
        local g = groups[key]
        if not g then
          g = { key = key, labels = labels, anomalies = {}, signals = 0, firing = 0,
            first = math.huge, partial = false }
          groups[key] = g
        end
        if not counted[key] then counted[key], g.signals = true, g.signals + 1 end
        g.anomalies[#g.anomalies + 1] = anomaly_of(name, series)
        g.firing = g.firing + (series.state == 'firing' and 1 or 0)
        g.first = math.min(g.first, series.firing_from)
        g.partial = g.partial or series.partial == true
      end
    end
  end
  for _, g in pairs(groups) do
    table.sort(g.anomalies, function(a, b)
      if a.since ~= b.since then return a.since < b.since end
      if a.signal ~= b.signal then return a.signal < b.signal end
      return tostring(a.reason) < tostring(b.reason)
    end)
  end
  return groups
end

return convergence
