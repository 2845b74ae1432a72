--- isolation_forest against scikit-learn's: its own trees exactly, and detection on labelled data.
---
--- For each line of reference.csv ten forests, seeds 0 to 9, are trained and scored on the same
--- rows. Their mean ROC-AUC and average precision must lie within
--- max(0.005, 3 * sqrt((s1^2 + s2^2) / 10)) of scikit-learn's, s being the deviations over seeds.
package.path = 'tests/parity/?.lua;' .. package.path
local isolation_forest = require 'isolation_forest'
local json = require 'json'
local lib = require 'lib'
local matrix = require 'matrix'
local measures = require 'measures'
local statistics = require 'statistics'

local SEEDS <const> = 10

-- scikit-learn's trees

local function column(rows, key)
  local out = {}
  for i, row in ipairs(rows) do out[i] = row[key] end
  return out
end

local function compare_golden(name, csv)
  local path = lib.data('anomaly/' .. name)
  if not path then return end
  local file <close> = assert(io.open(path))
  local golden = assert(json.decode(file:read 'a'))
  local model = assert(isolation_forest.load(path))
  local rows = column(golden.rows, 'x')
  lib.close(name .. ' score', model:score_samples(rows), column(golden.rows, 'score'), 1e-12)
  lib.close(name .. ' decision', model:decision_function(rows), column(golden.rows, 'decision'),
    1e-12)
  lib.close(name .. ' predict', model:predict(rows), column(golden.rows, 'predict'), 0)
  local table_path = csv and lib.data('anomaly/' .. csv)
  if not table_path then return end
  local m = assert(matrix.read_csv(table_path))
  local wanted = {}
  for i = 1, m.columns - 1 do wanted[i] = i end
  local x = m:select(wanted)
  local scores, flagged = model:score_samples(x), 0
  for _, p in ipairs(model:predict(x)) do flagged = flagged + (p == -1 and 1 or 0) end
  lib.close(name .. ' mean score', statistics.mean(scores), golden.all_rows.score_mean, 1e-12)
  lib.close(name .. ' flagged', flagged, golden.all_rows.flagged, 0)
  table.sort(scores)
  local at = 0.05 * (#scores - 1)
  local i = math.floor(at)
  lib.close(name .. ' offset', scores[i + 1] + (at - i) * (scores[i + 2] - scores[i + 1]),
    golden.offset, 1e-12)
end

-- The features of the data's README, row by row in the order of the file

local function median_step(ts)
  local gaps = {}
  for i = 2, #ts do gaps[#gaps + 1] = ts[i] - ts[i - 1] end
  return statistics.median(gaps)
end

--- Mean and standard deviation of the last w values at each row.
local function rolling(x, w)
  local mean, sd = {}, {}
  for i = 1, #x do
    local first = math.max(1, i - w + 1)
    local sum, squares = 0, 0
    for k = first, i do sum = sum + x[k] end
    local m = sum / (i - first + 1)
    for k = first, i do squares = squares + (x[k] - m) ^ 2 end
    mean[i], sd[i] = m, math.sqrt(squares / (i - first + 1))
  end
  return mean, sd
end

local function preceding_median(x, i, n)
  if i == 1 then return x[1] end
  return (statistics.median(table.move(x, math.max(1, i - n), i - 1, 1, {})))
end

--- Value minus the median, over up to seven earlier days, of the mean in the same slot of the day.
local function seasonal_residual(ts, x, step)
  local length = math.max(step, 300)
  local slots, out = {}, {}
  for i = 1, #x do
    local day, key = ts[i] // 86400, ts[i] % 86400 // length
    local slot = slots[key] or { days = {} }
    slots[key] = slot
    local earlier = {}
    for d, of_day in pairs(slot.days) do
      if d < day then earlier[#earlier + 1] = { d, of_day.sum / of_day.n } end
    end
    table.sort(earlier, function(a, b) return a[1] > b[1] end)
    local means = {}
    for k = 1, math.min(7, #earlier) do means[k] = earlier[k][2] end
    local base = #means >= 2 and statistics.median(means)
      or preceding_median(x, i, math.floor(86400 / step))
    out[i] = x[i] - base
    local of_day = slot.days[day] or { sum = 0, n = 0 }
    slot.days[day] = of_day
    of_day.sum, of_day.n = of_day.sum + x[i], of_day.n + 1
  end
  return out
end

local function features_of(m)
  local ts, x = m:column 'ts', m:column 'value'
  local step = median_step(ts)
  local w1 = math.min(60, math.max(6, math.floor(3600 / step)))
  local m1, s1 = rolling(x, w1)
  local m6, s6 = rolling(x, 6 * w1)
  local sr = seasonal_residual(ts, x, step)
  local r1, r6 = rolling(sr, w1), rolling(sr, 6 * w1)
  local d1, hour, weekday = {}, {}, {}
  for i = 1, #x do
    d1[i] = i > 1 and x[i] - x[i - 1] or 0
    hour[i], weekday[i] = ts[i] % 86400 // 3600, (ts[i] // 86400 + 3) % 7
  end
  return {
    value = { x }, seed = { x, hour, weekday }, roll6 = { x, d1, m1, m6, s1, s6 },
    ops6 = { x, d1, m6, s6, r1, r6 }, ops9 = { x, d1, m1, m6, s1, s6, sr, r1, r6 }, r6 = r6,
  }
end

-- Detection

local function mean_sd(x) return statistics.mean(x), statistics.stddev(x) end

local function compare_detection(line, x, labels)
  local what = line.dataset .. ' ' .. line.features
  local auc, ap, means, offsets = {}, {}, {}, {}
  for seed = 0, SEEDS - 1 do
    local model = assert(isolation_forest.fit(x, { contamination = 0.05, random_state = seed }))
    local scores = model:score_samples(x)
    for i, s in ipairs(scores) do scores[i] = -s end
    local measured = assert(measures.of(labels, scores))
    auc[seed + 1], ap[seed + 1] = measured:auc(), measured:average_precision()
    means[seed + 1], offsets[seed + 1] = statistics.mean(scores), model.offset
  end
  for name, values in pairs { roc_auc = auc, ap = ap } do
    local theirs, their_sd = tonumber(line[name .. '_mean']), tonumber(line[name .. '_sd'])
    if theirs then
      local ours, sd = mean_sd(values)
      local limit = math.max(0.005, 3 * math.sqrt((sd ^ 2 + their_sd ^ 2) / SEEDS))
      lib.check(math.abs(ours - theirs) <= limit, '%s %s: %.4f, scikit-learn %.4f (limit %.4f)',
        what, name, ours, theirs, limit)
    end
  end
  lib.close(what .. ' mean score', statistics.mean(means), tonumber(line.score_mean), 0.005)
  lib.close(what .. ' mean offset', statistics.mean(offsets), tonumber(line.offset_mean), 0.01)
end

--- What is no forest: that the features are computed as the reference has them.
local function compare_baseline(line, features, labels)
  local scores = {}
  local median = line.features == 'zbase' and statistics.median(features.value[1])
  for i = 1, #labels do
    scores[i] = median and math.abs(features.value[1][i] - median) or math.abs(features.r6[i])
  end
  local auc = assert(measures.of(labels, scores)):auc()
  lib.close(line.dataset .. ' ' .. line.features .. ' roc_auc', auc, tonumber(line.roc_auc_mean),
    6e-5)
end

local function reference()
  local path = lib.data 'anomaly/reference.csv'
  local lines, names = {}, nil
  for text in path and io.lines(path) or function() end do
    local fields = {}
    for field in (text .. ','):gmatch '([^,]*),' do fields[#fields + 1] = field end
    if names then
      local line = {}
      for i, name in ipairs(names) do line[name] = fields[i] end
      lines[#lines + 1] = line
    end
    names = names or fields
  end
  return lines
end

local only = arg[1] -- a data set, for a closer look
compare_golden('golden_iforest_small.json', 'tab_cardio.csv')
compare_golden 'golden_iforest_seed.json'
local name, m, features
for _, line in ipairs(reference()) do
  if not only or line.dataset == only then
    if line.dataset ~= name then
      name, features = line.dataset, nil
      m = assert(matrix.read_csv(assert(lib.data('anomaly/' .. name .. '.csv'))))
    end
    local labels = m:column 'label'
    if line.features == 'table' then
      local wanted = {}
      for i = 1, m.columns - 1 do wanted[i] = i end
      compare_detection(line, m:select(wanted), labels)
    else
      features = features or features_of(m)
      local columns = features[line.features]
      if columns then
        compare_detection(line, matrix.from_columns(columns), labels)
      elseif line.roc_auc_mean ~= '' then
        compare_baseline(line, features, labels)
      end
    end
  end
end
lib.finish 'isolation_forest'
