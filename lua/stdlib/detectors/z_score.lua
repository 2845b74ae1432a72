--- z-score: how many standard deviations a value lies from the mean of its own history.
local check = require 'check'
local moments = require 'perigee.moments'
local shared = require 'detectors.options'
local types = require 'detectors.types'

---@class z_score.Options
---@field history? string       how far back to learn from; "7d"
---@field step? string          between the samples learnt from; "5m"
---@field retrain? string       how old the baseline may become; "1h"
---@field threshold? number     scores beyond it are anomalies; 3
---@field direction? string     "both", "above" or "below"; "both"
---@field min_samples? integer  with fewer there is no baseline; 30
local SPEC = shared.with_history({ history = '7d', step = '5m', retrain = '1h', min_samples = 30 },
  {
  threshold = check.number(3, { above = 0 }),
  direction = shared.direction 'both',
})

---@param o z_score.Options  with defaults
---@return Detector
local function build(o)

  local function fit(values)
    local m = moments.of(values)
    local too_few = types.too_few(m:count(), o.min_samples)
    if too_few then return nil, too_few end
    return { mean = m:mean(), scale = math.max(m:stddev(), types.spread_floor(m:mean())) }
  end

  ---@return Verdict
  local function judge(model, value)
    local deviation = (value - model.mean) / model.scale
    return types.by_score(types.towards(deviation, o.direction), o.threshold,
      ('%s is %.1f standard deviations %s the mean of %s'):format(types.text(value),
        math.abs(deviation), deviation < 0 and 'below' or 'above', types.text(model.mean)))
  end

  return { name = 'z_score', options = o, history = shared.history(o), fit = fit, judge = judge }
end

return types.detector('z_score', SPEC, build)
