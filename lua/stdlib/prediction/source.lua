--- Features that are PromQL queries, asked of a source: their history with what came of it, to
--- train on, or their present values, to predict for. Calls wait.
local check = require 'check'
local features = require 'prediction.features'
local matrix = require 'matrix'

local source = {}

local MOST_ROWS = 20000000

--- Drops answers that a fault has left incomplete: to learn from half of the truth is worse.
local function whole(what, series, failure)
  if not series then return nil, ('%s: %s'):format(what, failure.message), failure.kind end
  if series.partial then return nil, what .. ': the answer is partial', 'partial' end
  return series
end

---@class source.History
---@field queries table<string, string>  by feature
---@field group_by? string[]
---@field alert string                   its name
---@field horizon number, step number
---@field start number, stop number      on multiples of the step

--- Rows to train on, in order of group and time.
---@param client table  a Prometheus client
---@param o source.History
---@param tell fun(what: string)
---@return train.Data? data
---@return string? message
---@return string? kind      of failure, as the client names it; "data" where it answered
---@return integer? excluded rows during the alert itself
function source.history(client, o, tell)
  local names, found = check.names(o.queries), {}
  for i, name in ipairs(names) do
    tell(('asking for %s, %d of %d'):format(name, i, #names))
    local series, message, kind = whole(name, client:query_range(o.queries[name], o.start, o.stop,
      o.step))
    if not series then return nil, 'feature ' .. message, kind end
    found[name] = series
  end
  tell('asking for the alert ' .. o.alert)
  -- Within a step it may have come and gone.
  local expr = ('max_over_time(ALERTS{alertname=%q, alertstate="firing"}[%dms])'):format(o.alert,
    math.floor(o.step * 1000))
  local alerts, message, kind = whole('alert ' .. o.alert,
    client:query_range(expr, o.start, o.stop, o.step))
  if not alerts then return nil, message, kind end
  if #alerts == 0 then
    return nil, ('the source knows of no alert "%s" that has fired in this time'):format(o.alert),
      'data'
  end
  local groups
  groups, message = features.join(names, found, o.group_by)
  if not groups then return nil, message, 'data' end
  if #groups == 0 then return nil, 'no feature has any data in this time', 'data' end
  if #groups * (o.stop - o.start) / o.step > MOST_ROWS then
    return nil, 'that is too much: a longer --step, or less --history', 'data'
  end
  local rows = features.rows(names, groups, alerts, o, o.horizon)
  return { X = matrix.from_columns(rows.columns, names), y = rows.y, times = rows.times,
    runs = #groups > 1 and rows.runs or nil }, nil, nil, rows.excluded
end

--- The present groups with a value a feature; absent ones are not there.
---@param query fun(expr: string): table?, table?  an instant query: vector, or nil and a failure
---@param queries table<string, string>
---@param group_by? string[]
---@return features.Group[]? groups
---@return string? message
---@return string? kind
---@return string[]? partial  features whose answer is
function source.present(query, queries, group_by)
  local names, found, partial = check.names(queries), {}, {}
  for _, name in ipairs(names) do
    local vector, failure = query(queries[name])
    if not vector then
      return nil, ('feature %s: %s'):format(name, failure.message), failure.kind
    end
    if vector.type == 'matrix' then
      return nil, ('feature %s gives a range of values; one a series is needed'):format(name),
        'data'
    end
    if vector.type == 'scalar' then
      for _, s in ipairs(vector) do s.labels = s.labels or {} end
    end
    if vector.partial then partial[#partial + 1] = name end
    found[name] = vector
  end
  local groups, message = features.join(names, found, group_by)
  if not groups then return nil, message, 'data' end
  return groups, nil, nil, partial
end

--- The rows of groups, with the columns of a model; what is absent, NaN or infinite is missing.
---@param groups features.Group[]
---@param names string[]
---@return matrix.Matrix
function source.rows(groups, names)
  local rows = {}
  for i, group in ipairs(groups) do
    rows[i] = {}
    for j, name in ipairs(names) do
      local v = group.items[name] and group.items[name].value or 0 / 0
      rows[i][j] = (v == math.huge or v == -math.huge) and 0 / 0 or v
    end
  end
  return matrix.from_rows(rows, names)
end

return source
