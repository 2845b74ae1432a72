local combine = require 'detectors.combine'
local support = require 'lua.detectors.support'
local threshold = require 'detectors.threshold'
local z_score = require 'detectors.z_score'

--- A detector that has no history and says what it is told to.
local function says(is_anomaly, score, reason)
  return { judge = function()
    return { is_anomaly = is_anomaly, anomaly_score = score, confidence = 50 + score,
      reason = reason or (is_anomaly and 'odd ' or 'usual ') .. score }
  end }
end

--- One that has no baseline.
local function says_nothing(why)
  return { judge = function() return { is_anomaly = false, reason = 'no baseline: ' .. why } end }
end

local function judge(options) return combine(options).judge(nil, 1, 0) end

--- A detector with a history, that learns how many samples it was given.
local function learner(range, step, retrain, why)
  return { history = { range = range, step = step, retrain = retrain },
    fit = function(values, times)
      if why then return nil, why end
      return { n = #values, first = times[1] }
    end,
    judge = function(model)
      return { is_anomaly = false, anomaly_score = model.n, confidence = 50, reason = 'usual' }
    end }
end

describe('combine', function()
  it('asks for all, for any, or for k', function()
    local a, b, c = says(true, 5), says(true, 3), says(false, 1)
    for _, case in ipairs { { { all = { a, b } }, true }, { { all = { a, b, c } }, false },
      { { any = { c, b } }, true }, { { any = { c, c } }, false },
      { { k_of = { 2, a, b, c } }, true }, { { k_of = { 3, a, b, c } }, false },
      { { k_of = { 1, c, c, b } }, true } } do
      assert.equal(case[2], judge(case[1]).is_anomaly)
    end
  end)

  it('scores as the k-th oddest does: so many are at least as odd', function()
    local a, b, c = says(true, 5), says(true, 3), says(false, 1)
    local function score(options) return judge(options).anomaly_score end
    assert.same({ 5, 3, 1, 1 }, { score { any = { c, b, a } }, score { k_of = { 2, a, b, c } },
      score { all = { b, c, a } }, score { k_of = { 3, c, b, a } } })
    -- An anomaly counts for more than a score, for scores of different detectors do not compare.
    assert.equal(3, score { any = { says(false, 9), b } })
    assert.equal(53, judge({ k_of = { 2, a, b, c } }).confidence)
  end)

  it('gives the reasons of those that are odd, or the deciding one', function()
    assert.equal('2 of 3: odd 5; odd 3',
      judge({ all = { says(true, 5), says(false, 1), says(true, 3) } }).reason)
    assert.equal('usual 4', judge({ any = { says(false, 1), says(false, 4) } }).reason)
  end)

  it('goes by those that have a baseline, as far as they can decide', function()
    local a, c, silent = says(true, 5), says(false, 1), says_nothing 'new'
    assert.same({ true, 5 }, { judge({ any = { silent, a } }).is_anomaly,
      judge({ any = { silent, a } }).anomaly_score })
    assert.is_false(judge({ any = { silent, c } }).is_anomaly)
    assert.same({ is_anomaly = false, reason = 'no baseline: new' }, judge { all = { silent, a } })
    assert.same({ is_anomaly = false, reason = 'no baseline: new' },
      judge { k_of = { 2, silent, c, says_nothing 'gone' } })
    assert.is_true(judge({ k_of = { 2, silent, a, a } }).is_anomaly)
  end)

  it('hands on value, time and labels, and a fault of a rule\'s own code', function()
    local seen
    local own = { judge = function(_, value, time, labels)
      seen = { value, time, labels.app }
      return nil, { kind = 'error', message = 'broken' }
    end }
    local verdict, fault = combine({ any = { own, says(true, 5) } }).judge(nil, 7, 60,
      { app = 'shop' })
    assert.is_nil(verdict)
    assert.equal('broken', fault.message)
    assert.same({ 7, 60, 'shop' }, seen)
  end)

  it('needs no history where no part does', function()
    local detector = combine { all = { threshold { above = 1 }, threshold { below = 5 } } }
    assert.same({ nil, nil }, { detector.history, detector.fit })
    assert.is_true(detector.judge(nil, 3, 0).is_anomaly)
  end)

  it('learns from a history that serves every part', function()
    local detector = combine { any = { learner(100, 10, 60), says(true, 1), learner(1000, 5, 90) } }
    assert.same({ range = 1000, step = 5, retrain = 60 }, detector.history)
  end)

  it('gives each part its own part of that', function()
    local values, times = {}, {}
    for i = 1, 101 do values[i], times[i] = i, (i - 1) * 10 end
    local detector = combine { all = { learner(100, 10, 60), learner(1000, 10, 60) } }
    local model = assert(detector.fit(values, times))
    assert.same({ n = 11, first = 900 }, model.models[1])
    assert.same({ n = 101, first = 0 }, model.models[2])
    assert.equal(11, detector.judge(model, 1, 0).anomaly_score)
  end)

  it('has a model as soon as one part has one', function()
    local none = learner(100, 10, 60, 'no baseline: too new')
    local detector = combine { any = { none, learner(100, 10, 60) } }
    local model = assert(detector.fit({ 1 }, { 0 }))
    assert.equal(1, detector.judge(model, 1, 0).anomaly_score)
    local both = combine { all = { none, learner(100, 10, 60) } }
    assert.same({ is_anomaly = false, reason = 'no baseline: too new' },
      both.judge(both.fit({ 1 }, { 0 }), 1, 0))
    assert.same({ nil, 'no baseline: too new' }, { combine({ any = { none, none } }).fit({}, {}) })
    assert.is_table(combine({ any = { none, says(true, 1) } }).fit({}, {}))
  end)

  it('makes models of plain data', function()
    local detector = combine { all = { z_score {}, threshold { above = 1 } } }
    local model = detector.fit(support.upto(30), support.upto(30))
    assert.same({ { mean = 15.5, scale = math.sqrt(77.5) }, false }, model.models)
    local v = detector.judge(model, 100, 0)
    assert.is_true(v.is_anomaly)
    assert.equal('2 of 2: 100 is 9.6 standard deviations above the mean of 15.5; 100 is above 1',
      v.reason)
  end)

  it('is a part of another', function()
    local inner = combine { any = { says(false, 1), z_score {} } }
    local outer = combine { all = { inner, threshold { above = 1 } } }
    assert.same(inner.history, outer.history)
    local model = outer.fit(support.upto(30), support.upto(30))
    assert.is_true(outer.judge(model, 100, 0).is_anomaly)
    assert.is_false(outer.judge(model, 15, 0).is_anomaly)
  end)

  it('refuses what is no combination', function()
    local a = threshold { above = 1 }
    for options, words in pairs {
      [{}] = 'one of "all", "any" and "k_of" is needed',
      [{ all = {} }] = '"all" holds no detector',
      [{ all = { a }, k_of = { 1, a } }] = 'one of "all" and "k_of", not both',
      [{ k_of = { a, a } }] = '"k_of" takes a number from 1 to 1, then detectors: '
        .. 'k_of = { 2, …, … }',
      [{ k_of = { 3, a, a } }] = '"k_of" takes a number from 1 to 2, then detectors: '
        .. 'k_of = { 2, …, … }',
      [{ k_of = { 0, a } }] = '"k_of" takes a number from 1 to 1, then detectors: '
        .. 'k_of = { 2, …, … }',
      [{ any = { a, 5 } }] = 'any[2] is no detector',
      [{ k_of = { 1, a, {} } }] = 'k_of[2] is no detector',
      [{ all = a }] = 'all: expected a list, not a table',
      [{ most = { a } }] = 'unknown option "most"; known are all, any, k_of',
    } do
      assert.equal('combine: ' .. words, support.refusal(combine, options))
    end
  end)
end)

describe('combine of detectors that look back', function()
  local isolation_forest = require 'detectors.isolation_forest'

  it('needs what each of them needs, each step once', function()
    local day = isolation_forest { features = 'seasonal_residual' }
    local d = combine { any = { threshold { above = 1 }, isolation_forest {}, day,
      isolation_forest { step = '1m' } } }
    assert.same({ { range = day.windows[1].range, step = 300 }, { range = 21600, step = 60 } },
      d.windows)
    assert.is_nil(combine { any = { threshold { above = 1 } } }.windows)
  end)

  it('hands them what there is to see', function()
    local seen
    local part = { judge = function(_, _, _, _, recent)
      seen = recent
      return { is_anomaly = true, anomaly_score = 1, confidence = 100, reason = 'x' }
    end }
    local recent = {}
    assert.is_true(combine { all = { part } }.judge(nil, 1, 2, {}, recent).is_anomaly)
    assert.equal(recent, seen)
  end)
end)
