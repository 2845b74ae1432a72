--- The options that detectors with a history share.
local check = require 'check'

local options = {}

--- Adds the shared options to those of one detector.
---@param defaults { history: string, step: string, retrain: string, min_samples: integer }
---@param own table<string, check.Rule>
---@return table<string, check.Rule>
function options.with_history(defaults, own)
  local spec = {
    history = check.duration(defaults.history, { min = 1 }),
    step = check.duration(defaults.step, { min = 1 }),
    retrain = check.duration(defaults.retrain, { min = 1 }),
    min_samples = check.number(defaults.min_samples, { min = 2, integer = true }),
  }
  for name, rule in pairs(own) do spec[name] = rule end
  return spec
end

options.direction = function(default) return check.one_of(default, { 'both', 'above', 'below' }) end

--- What a detector says of its history, from its options.
---@return Detector.History
function options.history(o)
  return { range = o.history, step = o.step, retrain = o.retrain }
end

return options
