--- `perigee predict` on models of other programs, by their own probabilities; and `perigee train`,
--- whose measures scikit-learn has to find too.
package.path = 'tests/parity/?.lua;' .. package.path
local file = require 'perigee.file'
local json = require 'json'
local lib = require 'lib'
local matrix = require 'matrix'
local process = require 'perigee.process'

local PERIGEE = file.executable()

local function perigee(...)
  local child = assert(process.start { PERIGEE, limit = 1 << 28, ... })
  local status, output, errors = child:wait()
  return status, output, errors
end

--- The rows that `perigee predict` gives, or nil and what it says.
local function predicted(model, csv)
  local status, output, errors = perigee('predict', '--model', model, '--data', csv, '--json')
  if status ~= 0 then return nil, errors end
  return json.decode(output).rows
end

local function probabilities(rows)
  local out = {}
  for i, r in ipairs(rows) do out[i] = r.failure_probability end
  return out
end

-- -- models of other programs ---------------------------------------------------------------------

local FILES = { 'skl12_sre8.json', 'skl12_ai4i.json', 'xgb17_sre8.json', 'xgb17_sre8.ubj',
  'xgb32_sre8.json', 'xgb32_sre8.ubj', 'xgb17_missing.json', 'xgb17_cat.json', 'lgb46_sre8.txt',
  'lgb46_cat.txt', 'lgb46_nan.txt', 'lgb46_zero.txt' }
for _, name in ipairs(FILES) do
  local model = lib.data('boost/models/' .. name)
  local csv = model and lib.data(('boost/models/%s.rows.csv'):format(name:match '^(.*)%.%w+$'))
  if csv then
    local rows, message = predicted(model, csv)
    if lib.check(rows ~= nil, '%s: %s', name, message) then
      local expected = assert(matrix.read_csv(csv, { columns = { 'prob' } })):column 'prob'
      lib.close(name, probabilities(rows), expected, 1e-6)
    end
  end
end

--- Rows with features that are absent, which scikit-learn's users fill with 0.
local seed = lib.data 'boost/models/skl12_sre8.seed.csv'
if seed then
  local rows = assert(predicted(lib.DATA .. '/boost/models/skl12_sre8.json', seed))
  local expected = assert(matrix.read_csv(seed, { columns = { 'prob' } })):column 'prob'
  lib.close('absent features', probabilities(rows), expected, 1e-9)
  local i, wrong = 0, 0
  for line in io.lines(seed) do
    local level = line:match ',(%l+),[%w_]+,[%w_]+,[%w_]+$'
    if level and i > 0 and rows[i].risk_level ~= level then wrong = wrong + 1 end
    i = i + 1
  end
  lib.check(wrong == 0, '%d risk levels differ', wrong)
end

-- -- measures -------------------------------------------------------------------------------------

local PYTHON = [[
import sys, json
from sklearn.metrics import roc_auc_score, average_precision_score, log_loss, brier_score_loss
y, p = json.load(sys.stdin)
print(json.dumps([roc_auc_score(y, p), average_precision_score(y, p), log_loss(y, p),
                  brier_score_loss(y, p)]))]]

local has_sklearn = lib.has_python 'sklearn'
if not has_sklearn then lib.absent 'scikit-learn' end
for _, name in ipairs { 'sre8', 'ai4i', 'cmapss', 'disk_st' } do
  local path = has_sklearn and lib.data(('boost/%s_train.csv'):format(name))
  if path then
    local model = os.tmpname()
    local status, output, errors = perigee('train', '--data', path, '--label', 'label', '--out',
      model, '--no-refit', '--json')
    if lib.check(status == 0, '%s: %s', name, errors) then
      local e = json.decode(output).evaluation
      local y = assert(matrix.read_csv(path, { columns = { 'label' } })):column 'label'
      local n = #y - e.rows
      local p = probabilities(assert(predicted(model, path)))
      local pairs_text = json.encode { table.move(y, n + 1, #y, 1, {}),
        table.move(p, n + 1, #p, 1, {}) }
      local found = json.decode(assert(lib.run({ '/usr/bin/python3', '-c', PYTHON }, pairs_text)))
      lib.close(name, { e.auc, e.average_precision, e.log_loss, e.brier }, found, 1e-9)
      lib.check(e.log_loss < e.prior_log_loss, '%s: log-loss %g, the base rate alone %g', name,
        e.log_loss, e.prior_log_loss)
    end
    os.remove(model)
  end
end

lib.finish 'prediction'
