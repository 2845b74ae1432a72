--- How good scores of yes-or-no outcomes are: ranking, probabilities, thresholds. Outcomes are 0
--- and 1; a pair whose outcome or score is NaN, nil or false is left out. An alarm is a score
--- strictly above a threshold. Where an answer is not defined (one class only) it is nil.
local core = require 'perigee.measures'

local measures = {}

---@class measures.Bin
---@field lower number, upper number  the lowest and highest score within
---@field count integer, positives integer
---@field mean number                 of the scores

---@class measures.Confusion
---@field true_positives integer, false_positives integer
---@field false_negatives integer, true_negatives integer

---@class measures.Measures
---@field count fun(self): integer, integer      pairs, and those with outcome 1
---@field auc fun(self): number?                  area under the ROC curve, ties count half
---@field average_precision fun(self): number?    as scikit-learn's average_precision_score
---@field log_loss fun(self): number              raises where scores are outside of 0 to 1
---@field brier fun(self): number                 the same
---@field bins fun(self, n: integer, by: "count"|"width"): measures.Bin[]  by ascending score
---@field at fun(self, threshold: number): measures.Confusion
---@field by_precision fun(self, share: number): number?  lowest threshold so precise
---@field by_alarms fun(self, most: integer): number      lowest threshold with so few alarms

--- Measures scores against what came.
---@param outcomes (number|false)[]
---@param scores (number|false)[]
---@return measures.Measures? measures
---@return string? message  no pair is complete
function measures.of(outcomes, scores)
  local m, message = core.of(outcomes, scores)
  if not m then return nil, message and 'no row has both an outcome and a score' end
  return m
end

--- The log-loss of always predicting the base rate, which a model has to beat.
---@param base_rate number  share of the outcomes that are 1
---@return number
function measures.prior_log_loss(base_rate)
  local function term(p) return p > 0 and -p * math.log(p) or 0 end
  return term(base_rate) + term(1 - base_rate)
end

--- How many alarms there are above a threshold. Rows are in order of time, and neighbours above it
--- are one alarm, which counts anew after every `again` rows that it goes on (nil: never). Rows of
--- different run are no neighbours (nil: all are of one).
---@type fun(scores: (number|false)[], runs?: number[], again?: integer, threshold: number): integer
measures.episodes = core.episodes

--- Going down from the highest score, the last threshold before there are more alarms than `most`.
---@type fun(scores: (number|false)[], runs?: number[], again?: integer, most: integer): number?
measures.by_episodes = core.by_episodes

return measures
