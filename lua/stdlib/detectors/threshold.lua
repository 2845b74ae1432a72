--- Threshold: a value above or below a fixed limit.
local check = require 'check'
local types = require 'detectors.types'

---@class threshold.Options
---@field above? number  values beyond it are anomalies
---@field below? number  values under it are anomalies; at least one of the two
local SPEC = { above = check.number(), below = check.number() }

--- How far x lies beyond the limit, relative to it.
local function excess(x, limit) return (x - limit) / math.max(math.abs(limit), 1e-9) end

---@param o threshold.Options  with defaults
---@return Detector
local function build(o)
  if not o.above and not o.below then types.refuse('one of "above" and "below" is needed') end
  if o.above and o.below and o.below >= o.above then
    types.refuse(('"below" (%g) must be less than "above" (%g)'):format(o.below, o.above))
  end

  ---@return Verdict
  local function judge(_, value)
    local text = types.text(value)
    local over = o.above and excess(value, o.above) or -math.huge
    local under = o.below and -excess(value, o.below) or -math.huge
    local is_over, is_under = o.above and value > o.above, o.below and value < o.below
    local reason = is_over and ('%s is above %s'):format(text, types.text(o.above))
      or is_under and ('%s is below %s'):format(text, types.text(o.below))
      or ('%s is within its limits'):format(text)
    return { is_anomaly = (is_over or is_under) and true or false,
      anomaly_score = math.max(over, under),
      confidence = 100, reason = reason }
  end

  return { name = 'threshold', options = o, judge = judge }
end

return types.detector('threshold', SPEC, build)
