--- Features that are queries: what each of them gives, joined by labels into rows. Pure.
local label_key = require('prometheus').label_key

local features = {}

---@class features.Group
---@field key string
---@field labels table<string, string>
---@field items table<string, any>   by feature: what its query gave for these labels

--- The labels by which an item belongs to a group: all but the name, or those of group_by.
local function labels_of(item, group_by)
  local out = {}
  if group_by then
    for _, name in ipairs(group_by) do out[name] = item.labels[name] end
  else
    for name, value in pairs(item.labels) do
      if name ~= '__name__' then out[name] = value end
    end
  end
  return out
end

--- Joins what the queries gave: series (or samples) of the same labels are one group, and a series
--- without labels belongs to every group.
---@param names string[]
---@param found table<string, { labels: table }[]>  by feature
---@param group_by? string[]
---@return features.Group[]? groups  by key
---@return string? message
function features.join(names, found, group_by)
  local groups, by_key, common = {}, {}, {}
  for _, name in ipairs(names) do
    for _, item in ipairs(found[name] or {}) do
      local labels = labels_of(item, group_by)
      local key = label_key(labels)
      if next(labels) == nil then
        if common[name] then
          return nil, ('feature %s gives several series without labels to tell them apart')
            :format(name)
        end
        common[name] = item
      else
        local group = by_key[key]
        if not group then
          group = { key = key, labels = labels, items = {} }
          by_key[key], groups[#groups + 1] = group, group
        end
        if group.items[name] then
          return nil, ('feature %s gives several series for one group; aggregate it by %s'):format(
            name, group_by and table.concat(group_by, ', ') or 'its labels')
        end
        group.items[name] = item
      end
    end
  end
  if #groups == 0 and next(common) ~= nil then
    groups[1] = { key = label_key {}, labels = {}, items = {} }
  end
  for _, group in ipairs(groups) do
    for name, item in pairs(common) do
      if not group.items[name] then group.items[name] = item end
    end
  end
  table.sort(groups, function(a, b) return a.key < b.key end)
  return groups
end

-- -- rows of a history ----------------------------------------------------------------------------

--- Whether an alert is about a group: no label that both have differs.
local function concerns(alert, group)
  for name, value in pairs(group.labels) do
    if alert.labels[name] and alert.labels[name] ~= value then return false end
  end
  return true
end

---@class features.Grid  in seconds
---@field start number
---@field stop number
---@field step number

--- On which points of the grid an alert about the group fires.
local function firing(alerts, group, grid)
  local out = {}
  for _, alert in ipairs(alerts) do
    if concerns(alert, group) then
      for i, t in ipairs(alert.ds) do
        if alert.y[i] == alert.y[i] and alert.y[i] ~= 0 then
          out[math.floor((t - grid.start) / grid.step + 0.5)] = true
        end
      end
    end
  end
  return out
end

--- Outcomes by point of the grid: 1 where an alert begins to fire, or fires, within the horizon
--- ahead; false while it fires, since that is no prediction any more; NaN where what lies ahead is
--- not known.
local function outcomes(fires, n, ahead)
  local out, next_fire = {}, math.huge
  for i = n, 0, -1 do
    if fires[i] then
      out[i], next_fire = false, i
    elseif next_fire - i <= ahead then
      out[i] = 1
    elseif i + ahead > n then
      out[i] = 0 / 0
    else
      out[i] = 0
    end
  end
  return out
end

---@class features.Rows
---@field columns number[][]  one a feature
---@field y number[]
---@field times number[]
---@field runs number[]       the group of each row
---@field excluded integer    rows left out because the alert fired

--- Training rows from the history of the features and of an alert.
---@param names string[]
---@param groups features.Group[]  of series { labels, ds, y }
---@param alerts { labels: table, ds: number[], y: number[] }[]
---@param grid features.Grid
---@param horizon number           seconds
---@return features.Rows
function features.rows(names, groups, alerts, grid, horizon)
  local n, ahead = math.floor((grid.stop - grid.start) / grid.step + 0.5),
    math.max(1, math.floor(horizon / grid.step + 0.5))
  local out = { columns = {}, y = {}, times = {}, runs = {}, excluded = 0 }
  for j = 1, #names do out.columns[j] = {} end
  for g, group in ipairs(groups) do
    local y, at, some = outcomes(firing(alerts, group, grid), n, ahead), {}, {}
    for j, name in ipairs(names) do
      local series = group.items[name]
      at[j] = {}
      for i, t in ipairs(series and series.ds or {}) do
        local k = math.floor((t - grid.start) / grid.step + 0.5)
        at[j][k] = series.y[i]
        some[k] = some[k] or series.y[i] == series.y[i]
      end
    end
    for i = 0, n do
      if some[i] and y[i] == false then
        out.excluded = out.excluded + 1
      elseif some[i] then
        local row = #out.y + 1
        out.y[row], out.times[row], out.runs[row] = y[i], grid.start + i * grid.step, g
        for j = 1, #names do out.columns[j][row] = at[j][i] or 0 / 0 end
      end
    end
  end
  return out
end

return features
