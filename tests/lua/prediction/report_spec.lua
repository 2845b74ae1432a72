local prediction = require 'prediction'
local report = require 'prediction.report'
local support = require 'lua.prediction.support'

--- Rows whose scores are the true probabilities.
local function calibrated(n)
  local random, rows = support.uniform(3), { outcomes = {}, scores = {} }
  for i = 1, n do
    rows.scores[i] = random() ^ 3
    rows.outcomes[i] = random() < rows.scores[i] and 1 or 0
  end
  return rows
end

describe('a report', function()
  local rows = calibrated(4000)
  local r = report.of(rows, prediction.LEVELS)

  it('counts, ranks and measures probabilities', function()
    assert.equal(4000, r.rows)
    assert.near(0.25, r.base_rate, 0.02)
    assert.is_true(r.auc > 0.8 and r.auc < 1 and r.auc_error > 0 and r.auc_error < 0.02)
    assert.near(r.average_precision / r.base_rate, r.lift, 1e-12)
    assert.is_true(r.log_loss < r.prior_log_loss and r.brier < r.prior_brier)
  end)

  it('finds true probabilities calibrated, and inflated ones not', function()
    assert.equal(10, #r.calibration)
    for _, bin in ipairs(r.calibration) do
      assert.near(bin.mean_predicted, bin.observed, 0.07)
      assert.is_true(bin.lower <= bin.mean_predicted and bin.mean_predicted <= bin.upper)
    end
    local inflated = { outcomes = rows.outcomes, scores = {} }
    for i, p in ipairs(rows.scores) do inflated.scores[i] = math.sqrt(p) end
    assert.is_true(report.of(inflated, prediction.LEVELS).calibration_error
      > 5 * r.calibration_error)
  end)

  it('looks closer at the highest scores where failures are rare', function()
    local random, rare = support.uniform(8), { outcomes = {}, scores = {} }
    for i = 1, 6400 do
      rare.scores[i] = 0.2 * random() ^ 4
      rare.outcomes[i] = random() < rare.scores[i] and 1 or 0
    end
    local bins, all, failures = report.of(rare, prediction.LEVELS).calibration, 0, 0
    for i, bin in ipairs(bins) do
      all, failures = all + bin.count, failures + bin.observed * bin.count
      assert.is_true(i == 1 or bin.lower > bins[i - 1].upper)
      assert.is_true(bin.lower <= bin.mean_predicted and bin.mean_predicted <= bin.upper)
    end
    local expected = 0
    for _, y in ipairs(rare.outcomes) do expected = expected + y end
    assert.equal(6400, all)
    assert.near(expected, failures, 1e-6)
    assert.near(3200, bins[1].count, 10)
    assert.near(1600, bins[2].count, 10)
    assert.is_true(#bins >= 8 and bins[#bins].count >= 20 and bins[#bins].count < 60)
  end)

  it('tells what each level would have come to', function()
    assert.same({ 'critical', 'high', 'medium' },
      { r.levels[1].level, r.levels[2].level, r.levels[3].level })
    for _, c in ipairs(r.levels) do
      local right, alarms = 0, 0
      for i, p in ipairs(rows.scores) do
        if p > c.threshold then right, alarms = right + rows.outcomes[i], alarms + 1 end
      end
      assert.same({ right, alarms - right }, { c.true_positives, c.false_positives })
      assert.near(right / alarms, c.precision, 1e-12)
      assert.is_nil(c.alarms_per_week)
    end
  end)

  it('offers thresholds by precision, and by alarms a week where there are times', function()
    for _, c in ipairs(r.thresholds) do
      assert.equal('precision', c.by)
      assert.is_true(c.precision >= c.wanted and c.alarms > 0)
    end
    local timed = { outcomes = rows.outcomes, scores = rows.scores, weeks = 2, again = 12 }
    local n = 0
    for _, c in ipairs(report.of(timed, prediction.LEVELS).thresholds) do
      if c.by == 'alarms_per_week' then
        n = n + 1
        assert.is_true(c.alarms_per_week <= c.wanted and c.alarms > 0)
      end
    end
    assert.is_true(n >= 2)
  end)

  it('leaves out what one class alone does not define', function()
    local one = report.of({ outcomes = { 0, 0 }, scores = { 0.1, 0.2 } }, prediction.LEVELS)
    assert.is_nil(one.auc)
    assert.is_nil(one.average_precision)
    assert.is_nil(one.lift)
    assert.equal(0, #one.thresholds)
    assert.is_nil(report.of({ outcomes = {}, scores = {} }, prediction.LEVELS))
  end)
end)

describe('the span of rows', function()
  local function times(n, step)
    local out = {}
    for i = 1, n do out[i] = 1780000000 + (i - 1) * step end
    return out
  end

  it('is in weeks, and an alarm counts anew after the horizon', function()
    assert.same({ weeks = 1, again = 12 }, report.span(times(2016, 300), 3600))
    assert.same({ weeks = 1, again = 1 }, report.span(times(168, 3600), 60))
  end)

  it('is that of all series together', function()
    local both, runs = times(2016, 300), {}
    table.move(both, 1, 2016, 2017)
    for i = 1, 4032 do runs[i] = i <= 2016 and 1 or 2 end
    assert.same({ weeks = 1, again = 12 }, report.span(both, 3600, runs))
    assert.is_nil(report.span({ 1780000000, 1780000000, 1780000000, 1780000001 }, 3600))
  end)

  it('is not known where numbers are no times', function()
    assert.is_nil(report.span({ 1, 2, 3, 4 }, 3600))
    assert.is_nil(report.span(times(2, 60), 3600))
  end)
end)
