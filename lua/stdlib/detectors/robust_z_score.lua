--- Robust z-score: how far a value lies from the median of its own history, in median absolute
--- deviations, so that one past outage does not hide the next.
local check = require 'check'
local ecdf = require 'perigee.ecdf'
local shared = require 'detectors.options'
local types = require 'detectors.types'

---@class robust_z_score.Options
---@field history? string       how far back to learn from; "7d"
---@field step? string          between the samples learnt from; "5m"
---@field retrain? string       how old the baseline may become; "1h"
---@field threshold? number     scores beyond it are anomalies; 3.5 (Iglewicz and Hoaglin, 1993)
---@field direction? string     "both", "above" or "below"; "both"
---@field min_samples? integer  with fewer there is no baseline; 30
local SPEC = shared.with_history({ history = '7d', step = '5m', retrain = '1h', min_samples = 30 },
  {
  threshold = check.number(3.5, { above = 0 }),
  direction = shared.direction 'both',
})

---@param o robust_z_score.Options  with defaults
---@return Detector
local function build(o)

  local function fit(values)
    local d <close> = ecdf.fit(values)
    if not d then return nil, 'no baseline: every sample is missing' end
    local too_few = types.too_few(d:count(), o.min_samples)
    if too_few then return nil, too_few end
    local median = d:quantile(0.5)
    -- 1.4826 * MAD is sigma, were the history normal.
    return { median = median, scale = math.max(1.4826 * d:mad(), types.spread_floor(median)) }
  end

  ---@return Verdict
  local function judge(model, value)
    local deviation = (value - model.median) / model.scale
    return types.by_score(types.towards(deviation, o.direction), o.threshold,
      ('%s is %.1f deviations off the usual %s'):format(types.text(value), math.abs(deviation),
        types.text(model.median)))
  end

  return { name = 'robust_z_score', options = o, history = shared.history(o), fit = fit,
    judge = judge }
end

return types.detector('robust_z_score', SPEC, build)
