local measures = require 'measures'

local NAN = 0 / 0

local function failure(f, ...)
  local ok, message = pcall(f, ...)
  assert.is_false(ok)
  return message
end

describe('measures', function()
  local m = assert(measures.of({ 0, 0, 1, 1, 1, 0, false, 1 },
    { 0.1, 0.4, 0.35, 0.8, 0.4, 0.05, 0.3, NAN }))

  it('leaves out pairs that are not complete', function()
    assert.same({ 6, 3 }, { m:count() })
    local none, message = measures.of({ NAN, 1 }, { 1, NAN })
    assert.is_nil(none)
    assert.equal('no row has both an outcome and a score', message)
  end)

  it('answers as scikit-learn does', function()
    assert.near(15 / 18, m:auc(), 1e-15)
    assert.near(0.8055555555555556, m:average_precision(), 1e-15)
    assert.near(0.476122640249735, m:log_loss(), 1e-15)
    assert.near(0.16583333333333336, m:brier(), 1e-15)
  end)

  it('counts what alarms would have been', function()
    assert.same({ true_positives = 1, false_positives = 0, false_negatives = 2,
      true_negatives = 3 }, m:at(0.4))
    assert.equal(1, m:at(m:by_precision(1)).true_positives)
    assert.near(0.6, m:by_alarms(2), 1e-15)
    assert.equal(0.8, m:by_alarms(0))
  end)

  it('puts pairs into bins', function()
    local by_count, by_width = m:bins(2, 'count'), m:bins(2, 'width')
    assert.same({ 3, 3 }, { by_count[1].count, by_count[2].count })
    assert.same({ 5, 1 }, { by_width[1].count, by_width[2].count })
    assert.same({ lower = 0.8, upper = 0.8, count = 1, positives = 1, mean = 0.8 }, by_width[2])
  end)

  it('takes neighbouring rows for one alarm', function()
    local scores = { 0.9, 0.8, 0.1, 0.9, 0.2 }
    assert.equal(2, measures.episodes(scores, nil, nil, 0.5))
    assert.equal(3, measures.episodes(scores, nil, 1, 0.5))
    assert.equal(3, measures.episodes(scores, { 1, 2, 2, 2, 2 }, 9, 0.5))
    assert.equal(0.9, measures.by_episodes(scores, nil, nil, 1))
    assert.near(0.5, measures.by_episodes(scores, nil, 1, 3), 1e-15)
  end)

  it('has no answer where there is but one class', function()
    local only = measures.of({ 0, 0 }, { 0.1, 0.2 })
    assert.is_nil(only:auc())
    assert.is_nil(only:average_precision())
    assert.is_nil(only:by_precision(0.5))
    assert.equal(1, measures.of({ 1 }, { 0.5 }):average_precision())
  end)

  it('refuses what it cannot measure', function()
    assert.matches('outcome 2 is 2.0; expected 0 or 1', failure(measures.of, { 0, 2 }, { 1, 1 }))
    assert.matches('2 outcomes for 1 scores', failure(measures.of, { 0, 1 }, { 1 }))
    local scores = measures.of({ 0, 1 }, { -1, 3 })
    assert.equal(1, scores:auc())
    assert.matches('no probabilities: they go from %-1.0 to 3.0', failure(scores.log_loss, scores))
    assert.matches('bins', failure(m.bins, m, 0, 'count'))
    assert.matches('share', failure(m.by_precision, m, 0))
    assert.matches('1 runs for 2 scores', failure(measures.episodes, { 1, 2 }, { 1 }, 1, 0))
  end)

  it('knows the loss of the base rate', function()
    assert.near(math.log(2), measures.prior_log_loss(0.5), 1e-15)
    assert.equal(0, measures.prior_log_loss(0))
  end)
end)
