--- Ratio to baseline: a value against a multiple of what its own history usually is.
local check = require 'check'
local ecdf = require 'perigee.ecdf'
local moments = require 'perigee.moments'
local shared = require 'detectors.options'
local types = require 'detectors.types'

---@class ratio_to_baseline.Options
---@field history? string       how far back to learn from; "7d"
---@field step? string          between the samples learnt from; "5m"
---@field retrain? string       how old the baseline may become; "1h"
---@field ratio? number         beyond this multiple of the baseline a value is an anomaly; 2
---@field baseline? string      "median" or "mean" of the history; "median"
---@field direction? string     "above", "below" (under baseline / ratio) or "both"; "above"
---@field min_samples? integer  with fewer there is no baseline; 30
local SPEC = shared.with_history({ history = '7d', step = '5m', retrain = '1h', min_samples = 30 },
  {
  ratio = check.number(2, { above = 1 }),
  baseline = check.one_of('median', { 'median', 'mean' }),
  direction = shared.direction 'above',
})

local function centre(values, how)
  if how == 'mean' then
    local m = moments.of(values)
    return m:mean(), m:count()
  end
  local d <close> = ecdf.fit(values)
  if not d then return 0, 0 end
  return d:quantile(0.5), d:count()
end

---@param o ratio_to_baseline.Options  with defaults
---@return Detector
local function build(o)

  local function fit(values)
    local baseline, n = centre(values, o.baseline)
    local too_few = types.too_few(n, o.min_samples)
    if too_few then return nil, too_few end
    if baseline <= 0 then
      return nil,
        ('no baseline: a ratio needs a history above 0, and its %s is %s'):format(o.baseline,
        types.text(baseline))
    end
    return { baseline = baseline }
  end

  ---@return Verdict
  local function judge(model, value)
    local times = value / model.baseline
    local up, down = times, times > 0 and 1 / times or math.huge
    local score = o.direction == 'above' and up or o.direction == 'below' and down
      or math.max(up, down)
    -- An infinite score is no JSON: what is so far off is equally odd.
    return types.by_score(math.min(score, 1e9), o.ratio,
      ('%s is %.3g times the usual %s'):format(types.text(value), times,
      types.text(model.baseline)))
  end

  return { name = 'ratio_to_baseline', options = o, history = shared.history(o), fit = fit,
    judge = judge }
end

return types.detector('ratio_to_baseline', SPEC, build)
