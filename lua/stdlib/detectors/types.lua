--- What a detector is and what it says. Detectors are pure: the same history and value give the
--- same verdict in run, test and backtest.
local check = require 'check'
local units = require 'units'

---@class Detector
---@field name string
---@field options table            with defaults; durations in seconds
---@field history? Detector.History  absent: it judges without a baseline
---@field windows? Detector.Window[]  absent: it needs to see no more than the value
---@field fit? fun(values: number[], times: number[]): table?, string?  a model of plain data, or
---       why not; may wait
---@field judge fun(model: table?, value: number, time: number, labels?: table,
---       recent?: table<number, Detector.Samples>): Verdict?, table?  a fault, where a rule's own
---       code is part of it. recent: by step, what each of its windows shows before `time`; nil
---       where that cannot be had
---@field calls_rule? boolean      a rule's own function is part of it, whose CPU time is limited
---@field judge_history? fun(model: table, values: number[], times: number[]): (Verdict|false)[]
---       what judge says of each of many samples in order, at once; false for what is missing
---@field expects? fun(model: table, times: number[]): table  arrays yhat, yhat_lower, yhat_upper

---@class Detector.Window  the recent samples that judging needs, all in seconds
---@field range number   how far back
---@field step number    between samples

---@class Detector.Samples
---@field ds number[]  ascending
---@field y number[]

---@class Detector.History  what to learn from, all in seconds
---@field range number   how far back
---@field step number    between samples
---@field retrain number how old a model may become

---@class Verdict
---@field is_anomaly boolean
---@field anomaly_score? number  grows with oddness; nil without a baseline
---@field confidence? number     0..100, how sure the verdict is; nil without a baseline
---@field reason string

local types = {}

--- Makes the function that rules and scripts call with options, and that raises what is wrong with
--- them at the caller's line. Its `spec` and `build` let the rule language collect everything
--- instead.
---@param name string
---@param spec table<string, check.Rule>
---@param build fun(o: table): Detector  from options with defaults; raises by types.refuse
function types.detector(name, spec, build)
  return setmetatable({ name = name, spec = spec, build = build }, {
    __call = function(_, options)
      local o = check.options(name, options, spec)
      local ok, detector = pcall(build, o)
      if not ok then error(('%s: %s'):format(name, detector), 2) end
      return detector
    end,
  })
end

--- Refuses options that are each valid but do not go together.
function types.refuse(message) error(message, 0) end

--- The verdict where there is nothing to compare with.
---@param why? string
---@return Verdict
function types.no_baseline(why)
  return { is_anomaly = false, reason = why and why:find('^no baseline') and why or
    'no baseline' .. (why and ': ' .. why or '') }
end

--- A verdict by a score and the threshold beyond which it is an anomaly. Confidence is half at the
--- threshold, where either verdict is a coin toss, and grows towards 1 away from it.
---@param score number
---@param threshold number  > 0
---@param reason string
---@return Verdict
function types.by_score(score, threshold, reason)
  local beyond = score > threshold
  local doubt = 0.5 * (beyond and threshold / score or math.max(score, 0) / threshold)
  return { is_anomaly = beyond, anomaly_score = score, confidence = 100 * (1 - doubt),
    reason = reason }
end

--- Whether a value lies on the side of its usual that counts.
---@param above boolean
---@param direction "both"|"above"|"below"
function types.counts(above, direction)
  return direction == 'both' or (direction == 'above') == above
end

--- The samples no closer to each other than a step: where several detectors learn from one history,
--- it comes in the finest of their steps.
---@return number[] values, number[] times
function types.thin(values, times, step)
  local close, n = 0, #times
  for i = 2, n do close = times[i] - times[i - 1] < 0.75 * step and close + 1 or close end
  if close * 2 < n then return values, times end
  local y, ds = {}, {}
  for i = 1, n do
    if #ds == 0 or times[i] - ds[#ds] > 0.999 * step then
      y[#y + 1], ds[#ds + 1] = values[i], times[i]
    end
  end
  return y, ds
end

--- The deviation that counts: on both sides, or on one (the other then never passes).
---@param deviation number  signed
---@param direction "both"|"above"|"below"
function types.towards(deviation, direction)
  if direction == 'above' then return deviation end
  if direction == 'below' then return -deviation end
  return math.abs(deviation)
end

--- Why a history is too short to learn from, or nil.
function types.too_few(n, wanted)
  if n < wanted then return ('no baseline: %d samples of the %d needed'):format(n, wanted) end
end

--- The smallest spread that is believed: a flat history has none, and with a floor any change
--- counts and nothing divides by zero.
function types.spread_floor(centre) return 1e-9 * math.max(1, math.abs(centre)) end

types.text = units.number_text

return types
