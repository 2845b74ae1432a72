--- What models of a series look at beside the value itself: features, each of which depends on
--- that sample and on what came before it, no further back than features.reach(). The row of the
--- newest sample, computed from the recent ones alone, is to the last bit the row that a long
--- history gives. docs/detectors.md tells what each of them is.
local check = require 'check'
local core = require 'perigee.features'

local features = {}

--- Every feature by name, in order.
---@type string[]
features.NAMES = core.names

--- Sets of features.
---@type table<string, string[]>
features.SETS = {
  value_hour_weekday = { 'value', 'hour', 'weekday' },
  rolling = { 'value', 'difference', 'mean_1h', 'mean_6h', 'sd_1h', 'sd_6h' },
  seasonal_residual = { 'value', 'difference', 'mean_1h', 'mean_6h', 'sd_1h', 'sd_6h', 'residual',
    'residual_1h', 'residual_6h' },
}

local function is_known()
  local known = {}
  for _, name in ipairs(features.NAMES) do known[name] = { name } end
  for name, set in pairs(features.SETS) do known[name] = set end
  return known
end
local KNOWN = is_known()

--- The features that a name, of one or of a set, or a list of names stands for; each once.
---@param wanted string|string[]
---@return string[]? names
---@return string? message
function features.expand(wanted)
  local out, seen = {}, {}
  for _, name in ipairs(type(wanted) == 'table' and wanted or { wanted }) do
    local set = KNOWN[name]
    if not set then return nil, check.unknown('feature', tostring(name), check.names(KNOWN)) end
    for _, one in ipairs(set) do
      if not seen[one] then out[#out + 1], seen[one] = one, true end
    end
  end
  if #out == 0 then return nil, 'no features are named' end
  return out
end

--- A rule for an option that names features; its value becomes their list.
---@param default string
---@return check.Rule
function features.rule(default)
  return { default = features.expand(default), test = function(v)
    if type(v) ~= 'string' and type(v) ~= 'table' or type(v) == 'table' and v.kind then
      return check.expected('the name of a set of features, or a list of names', v)
    end
    local names, message = features.expand(v)
    if not names then return message end
    return nil, names
  end }
end

--- The rows of a series: one for each value that is there, in order.
---@param values number[]   NaN and infinities are missing: they have no row
---@param times number[]    Unix seconds, ascending
---@param o { names: string[], step: number, zone?: calendar.Zone, last?: boolean }  step: seconds
---       between samples, as intended; last: only the row of the last sample
---@return matrix.Matrix? matrix  columns named after their features. Waits where there is much
---@return string? message
function features.compute(values, times, o)
  return core.compute(values, times, o.names, o.step, o.zone, o.last)
end

--- Seconds that a row of these features looks back.
---@type fun(names: string[], step: number): number
features.reach = core.reach

--- Seconds of the short window, or of the long one.
---@type fun(step: number, is_long?: boolean): number
features.window = core.window

--- The step of a series: the median distance of its samples, 1 where they have none.
---@param times number[]  ascending
---@return number seconds
function features.step_of(times)
  local gaps = {}
  for i = 2, #times do
    if times[i] > times[i - 1] then gaps[#gaps + 1] = times[i] - times[i - 1] end
  end
  table.sort(gaps)
  return gaps[(#gaps + 1) // 2] or 1
end

return features
