--- Forecast band: a value outside of the interval that a seasonal model, learned from the history
--- of the series, expects at this very time: by trend, time of day and day of the week.
local base64 = require 'perigee.base64'
local calendar = require 'perigee.calendar'
local check = require 'check'
local ecdf = require 'perigee.ecdf'
local shared = require 'detectors.options'
local types = require 'detectors.types'

---@class forecast_band.Options
---@field history? string         how far back to learn from; "14d"
---@field step? string            between the samples learnt from; "5m"
---@field retrain? string         how old the model may become; "1d"
---@field interval_width? number  the share of the values that lie in the band; 0.99
---@field model? string           "auto" (robust, its band calibrated by backtest) or "prophet"
---@field direction? string       "both", "above" or "below" the band; "both"
---@field timezone? string        whose days and weeks: "Europe/Berlin"; "UTC"
---@field min_samples? integer    with fewer there is no baseline; 100
local HISTORY = { history = '14d', step = '5m', retrain = '1d', min_samples = 100 }
local SPEC = shared.with_history(HISTORY, {
  interval_width = check.number(0.99, { above = 0, max = 0.9999 }),
  model = check.one_of('auto', { 'auto', 'prophet' }),
  direction = shared.direction 'both',
  timezone = check.string 'UTC',
})

local FAR = 1000 -- half-widths

-- The models, ready to predict: made when they are needed first.
local ready = setmetatable({}, { __mode = 'k' })

---@return seasonal.Model?
---@return string? message  the model is damaged, or of another version
local function model_of(model)
  if ready[model] then return ready[model] end
  local bytes, message = base64.decode(model.seasonal), 'it is no base64'
  if bytes then ready[model], message = require('seasonal').deserialize(bytes) end
  if not ready[model] then return nil, message end
  model.seasonal = nil -- the store has it, and memory need not hold it twice
  return ready[model]
end

---@param o forecast_band.Options  with defaults
---@return Detector
local function build(o)
  local zone, wrong = calendar.zone(o.timezone)
  if not zone then types.refuse('timezone: ' .. wrong) end

  local function fit(values, times)
    values, times = types.thin(values, times, o.step)
    local d <close> = ecdf.fit(values)
    local too_few = types.too_few(d and d:count() or 0, o.min_samples)
    if too_few then return nil, too_few end
    local y = {}
    for i, value in ipairs(values) do y[i] = value - value == 0 and value or 0 / 0 end
    local model, message = require('seasonal').fit(times, y, { model = o.model,
      interval_width = o.interval_width, timezone = o.timezone })
    if not model then return nil, 'no baseline: ' .. message end
    return { seasonal = base64.encode(model:serialize()),
      floor = types.spread_floor(d:quantile(0.5)) }
  end

  --- How far off, in words: next to a band without width, the number says nothing.
  local function off(score)
    if score > FAR then return ('more than %d half-widths off'):format(FAR) end
    return ('%.1f half-widths off'):format(score)
  end

  --- In half-widths of the band, on the side on which the value lies.
  local function verdict(model, value, yhat, lower, upper)
    local above = value > yhat
    local half = math.max(above and upper - yhat or yhat - lower, model.floor)
    local score = math.min(math.abs(value - yhat) / half, 1e9) -- an infinite score is no JSON
    local reason = ('%s is %s the band of %s to %s expected now'):format(types.text(value),
      score <= 1 and 'within' or above and 'above' or 'below', types.text(lower), types.text(upper))
    if score > 1 then reason = ('%s, %s'):format(reason, off(score)) end
    local v = types.by_score(score, 1, reason)
    if v.is_anomaly and not types.counts(above, o.direction) then v.is_anomaly = false end
    return v
  end

  ---@return Verdict
  local function judge(model, value, time)
    local m, unreadable = model_of(model)
    if not m then return types.no_baseline(unreadable) end
    local p = m:predict { time }
    return verdict(model, value, p.yhat[1], p.yhat_lower[1], p.yhat_upper[1])
  end

  --- What the model expects at each time, for pictures.
  local function expects(model, times) return assert(model_of(model)):predict(times) end

  local function judge_history(model, values, times)
    local p, out = expects(model, times), {}
    for i, value in ipairs(values) do
      out[i] = value == value and verdict(model, value, p.yhat[i], p.yhat_lower[i],
        p.yhat_upper[i])
    end
    return out
  end

  return { name = 'forecast_band', options = o, history = shared.history(o), fit = fit,
    judge = judge, judge_history = judge_history, expects = expects }
end

return types.detector('forecast_band', SPEC, build)
