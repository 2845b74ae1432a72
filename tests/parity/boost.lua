--- Gradient boosting against XGBoost and LightGBM (log-loss on the test rows of data/boost, as
--- reference.csv has theirs) and scikit-learn (train_score of the exact search).
package.path = 'tests/parity/?.lua;' .. package.path
local file = require 'perigee.file'
local gradient_boosting = require 'gradient_boosting'
local json = require 'json'
local lib = require 'lib'
local matrix = require 'matrix'
local measures = require 'measures'

-- One standard error of the test log-loss by set: README.md of the data.
local ERRORS = { ai4i = 0.006, cmapss = 0.008, disk_st = 0.003, higgs = 0.017, sre8 = 0.012 }
local SETS = { 'ai4i', 'cmapss', 'disk_st', 'higgs', 'sre8' }

-- Where several splits are equally good scikit-learn's own train_score depends on its random_state.
-- Up to these stages it does not, or not by more than rounding. (Importances do at any stage: which
-- of two features that part the same rows is named.)
local EXACT = {
  { set = 'ai4i', model = 'skl12_ai4i', stages = 100 },
  { set = 'cmapss', model = 'skl12_cmapss_n40', stages = 3 },
  { set = 'disk_st', model = 'skl12_disk_st_n20', stages = 20 },
  { set = 'sre8', model = 'skl12_sre8', stages = 7 },
}

local function rows_of(set, part)
  local m = assert(matrix.read_csv(('%s/boost/%s_%s.csv'):format(lib.DATA, set, part)))
  local features = {}
  for _, name in ipairs(m.names) do
    if name ~= 'label' then features[#features + 1] = name end
  end
  return m:select(features), m:column 'label'
end

--- The better of both references at depth 5, by set.
local function references(path)
  local best = {}
  for line in assert(file.read(path)):gmatch '[^\n]+' do
    local set, model = line:match '^([^,]+),([^,]+),'
    local fields = {}
    for field in line:gsub('"[^"]*"', ''):gmatch '[^,]*' do fields[#fields + 1] = field end
    if model == 'xgboost-1.7.4 hist d5' or model == 'xgboost-3.2.0 hist d5'
      or model == 'lightgbm-4.6.0 d5' then
      best[set] = math.min(best[set] or math.huge, tonumber(fields[9]))
    end
  end
  return best
end

local function compare_losses(best)
  for _, set in ipairs(SETS) do
    local X, y = rows_of(set, 'train')
    local tested, outcomes = rows_of(set, 'test')
    local rate = 0
    for _, v in ipairs(y) do rate = rate + v / #y end
    local constant = {}
    for i = 1, #outcomes do constant[i] = rate end
    local prior = measures.of(outcomes, constant):log_loss()
    for seed = 0, 2 do
      local model = assert(gradient_boosting.fit(X, y, { random_state = seed }))
      local loss = measures.of(outcomes, model:predict_proba(tested)):log_loss()
      print(('  %-8s seed %d: log-loss %.6f; the better reference %.6f + %.3f, the prior %.6f')
        :format(set, seed, loss, best[set], ERRORS[set], prior))
      lib.check(loss <= best[set] + ERRORS[set], '%s: log-loss %g, the reference has %g', set, loss,
        best[set])
      lib.check(loss <= prior, '%s: log-loss %g, the base rate has %g', set, loss, prior)
    end
  end
end

--- As StandardScaler does it, with 0 for what is missing.
local function scaled(X, golden)
  local columns = {}
  for j, name in ipairs(golden.feature_names) do
    local values, mean, scale = X:column(name), golden.scaler.mean[j], golden.scaler.scale[j]
    for i, v in ipairs(values) do values[i] = ((v == v and v or 0) - mean) / scale end
    columns[j] = values
  end
  return matrix.from_columns(columns, golden.feature_names)
end

local function compare_exact(case)
  local path = lib.data(('boost/models/%s.json'):format(case.model))
  if not path then return end
  local golden = assert(json.decode(assert(file.read(path))))
  local X, y = rows_of(case.set, 'train')
  local model = assert(gradient_boosting.fit(scaled(X, golden), y, { split = 'exact',
    n_estimators = case.stages, max_depth = golden.params.max_depth,
    learning_rate = golden.learning_rate }))
  lib.close(case.model .. ': train_score', model.train_score,
    table.move(golden.train_score, 1, case.stages, 1, {}), 1e-9)
end

local reference = lib.data 'boost/reference.csv'
if reference then
  compare_losses(references(reference))
  for _, case in ipairs(EXACT) do compare_exact(case) end
end
lib.finish 'boost'
