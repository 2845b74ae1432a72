--- What the detector isolation_forest finds in labelled series, by the default features and by the
--- others, and what it costs: learning, loading, one look.
local base64 = require 'perigee.base64'
local clock = require 'perigee.clock'
local eval = require 'anomaly_eval'
local isolation_forest = require 'detectors.isolation_forest'
local json = require 'json'
local lib = require 'lib'
local units = require 'units'

local SEEDS <const> = os.getenv 'BENCH_SHORT' and 2 or 10

--- Scores of every sample by the detector itself, learned from the same samples; a sample without a
--- verdict counts as usual.
local function scores_of(s, options)
  local detector = isolation_forest(options)
  local model = assert(detector.fit(s.y, s.ds))
  local out = {}
  for i, v in ipairs(detector.judge_history(model, s.y, s.ds)) do
    out[i] = v and v.anomaly_score or 0
  end
  return out
end

local function figures(series, set)
  local all = {}
  for _, s in ipairs(series) do
    local step = units.duration_text(require('features').step_of(s.ds))
    local own = {}
    for seed = 1, SEEDS do
      own[#own + 1] = eval.figures(s.label, scores_of(s, { features = set, random_state = seed,
        step = step }))
    end
    if #own > 0 then all[#all + 1] = eval.mean(own) end
  end
  return eval.mean(all)
end

local function quality(series)
  local f = figures(series, 'rolling')
  lib.row('labelled series, features = "rolling": mean ROC-AUC', ('%.3f'):format(f.auc), '',
    '>= 0.775', f.auc >= 0.775)
  lib.row('  events found at 1 % false alarms', ('%.2f'):format(f.recall), '', '>= 0.89',
    f.recall >= 0.89)
  lib.row('  mean average precision', ('%.2f'):format(f.ap), '')
  for _, set in ipairs { 'seasonal_residual', 'value_hour_weekday' } do
    f = figures(series, set)
    lib.row(('features = "%s": ROC-AUC, events'):format(set), ('%.3f %.2f'):format(f.auc,
      f.recall), '')
  end
end

--- The least of several times that f takes, in milliseconds.
local function least(n, f)
  local best = math.huge
  for _ = 1, n do
    local began = clock.monotonic()
    f()
    best = math.min(best, clock.monotonic() - began)
  end
  return 1000 * best
end

--- Two weeks in steps of five minutes, made up.
local function costs()
  local y, ds, seed = {}, {}, 1
  for i = 1, 4032 do
    seed = seed * 48271 % 0x7fffffff
    ds[i], y[i] = 1700006400 + i * 300, 100 + 20 * math.sin(i / 46) + seed / 0x7fffffff
  end
  local detector = isolation_forest {}
  local model = assert(detector.fit(y, ds))
  local text = json.encode(model)
  local recent = { [300] = { ds = table.move(ds, 3900, 4031, 1, {}), y = table.move(y, 3900, 4031,
    1, {}) } }
  local function judge() return detector.judge(model, y[4032], ds[4032], {}, recent) end
  lib.row('isolation_forest: learning 14 days in steps of 5 min', ('%.1f'):format(least(9,
    function() detector.fit(y, ds) end)), 'ms')
  lib.row('  its size in the store', ('%.0f'):format(#text / 1024), 'KiB')
  lib.row('  loading it', ('%.2f'):format(least(9, function()
    require('isolation_forest').deserialize(base64.decode(json.decode(text).forest))
  end)), 'ms')
  lib.row('  one look at one series', ('%.1f'):format(1000 * least(9, function()
    for _ = 1, 100 do judge() end
  end) / 100), 'µs')
end

local series = eval.series()
if series then quality(series) else print '  not measured: there are no labelled series here' end
costs()
