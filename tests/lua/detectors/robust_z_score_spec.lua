local file = require 'perigee.file'
local matrix = require 'matrix'
local robust_z_score = require 'detectors.robust_z_score'
local support = require 'lua.detectors.support'

local DATA = '../shared/data/anomaly/'

--- The area under the ROC curve, from ranks (Mann-Whitney); equal scores share theirs.
local function roc_auc(scores, labels)
  local order = support.upto(#scores)
  table.sort(order, function(a, b) return scores[a] < scores[b] end)
  local ranks, positives, i = 0, 0, 1
  while i <= #order do
    local last = i
    while last < #order and scores[order[last + 1]] == scores[order[i]] do last = last + 1 end
    for k = i, last do
      if labels[order[k]] == 1 then
        ranks, positives = ranks + (i + last) / 2, positives + 1
      end
    end
    i = last + 1
  end
  return (ranks - positives * (positives + 1) / 2) / (positives * (#scores - positives))
end

describe('robust_z_score', function()
  -- Of 1 … 30: median 15.5, and half of them are no farther than 7.5 from it.
  local SCALE = 1.4826 * 7.5

  it('learns median and MAD of what is there', function()
    local values = support.upto(30)
    table.insert(values, 7, support.NAN)
    local model = assert(robust_z_score {}.fit(values))
    assert.equal(15.5, model.median)
    assert.is_true(support.close(model.scale, SCALE))
  end)

  it('scores in deviations off the median, on either side', function()
    local detector = robust_z_score {}
    local model = detector.fit(support.upto(30))
    local v = detector.judge(model, 60)
    assert.is_true(support.close(v.anomaly_score, 44.5 / SCALE)) -- 4.002
    assert.is_true(support.close(v.confidence, 100 - 50 * 3.5 / (44.5 / SCALE)))
    assert.same({ true, '60 is 4.0 deviations off the usual 15.5' }, { v.is_anomaly, v.reason })
    assert.is_true(detector.judge(model, -29).is_anomaly)
    assert.is_false(detector.judge(model, 50).is_anomaly)
  end)

  it('is not moved by past outages, as a z-score is', function()
    local values = {}
    for i = 1, 100 do values[i] = i > 90 and 1e6 or i % 5 end
    local detector = robust_z_score {}
    assert.is_true(detector.judge(detector.fit(values), 50).is_anomaly)
    local z = require('detectors.z_score') {}
    assert.is_false(z.judge(z.fit(values), 50).is_anomaly)
  end)

  it('has a threshold and a direction', function()
    local function odd(options, value)
      local detector = robust_z_score(options)
      return detector.judge(detector.fit(support.upto(30)), value).is_anomaly
    end
    assert.same({ true, false }, { odd({ threshold = 3.0 }, 50), odd({ threshold = 3.2 }, 50) })
    assert.same({ true, false, false, true }, { odd({ direction = 'above' }, 100),
      odd({ direction = 'above' }, -100), odd({ direction = 'below' }, 100),
      odd({ direction = 'below' }, -100) })
  end)

  it('takes any change of a flat history for odd', function()
    local values = {}
    for i = 1, 40 do values[i] = -7 end
    local detector = robust_z_score {}
    local model = detector.fit(values)
    assert.is_false(detector.judge(model, -7).is_anomaly)
    assert.is_true(detector.judge(model, -7.001).is_anomaly)
  end)

  it('has no baseline from too few samples, or from none', function()
    assert.same({ nil, 'no baseline: 29 samples of the 30 needed' },
      { robust_z_score {}.fit(support.upto(29)) })
    local none = 'no baseline: every sample is missing'
    assert.same({ nil, none }, { robust_z_score {}.fit {} })
    assert.same({ nil, none }, { robust_z_score {}.fit { support.NAN, support.INF } })
  end)

  it('refuses options that are wrong', function()
    assert.equal('robust_z_score: history: expected at least 1s, not "0s"',
      support.refusal(robust_z_score, { history = '0s' }))
    assert.equal('robust_z_score: direction: expected one of both, above, below, not "bellow"; '
      .. 'did you mean "below"?', support.refusal(robust_z_score, { direction = 'bellow' }))
  end)

  it('ranks labelled series as |value - median| does', function()
    if not file.stat(DATA .. 'reference.csv') then
      return pending 'robust_z_score: skipped, there is no ../shared/data/anomaly'
    end
    local tried = 0
    for line in io.lines(DATA .. 'reference.csv') do
      local name, auc = line:match '^([%w_-]+),zbase,1,%d+,[%d.]+,([%d.]+),'
      if name then
        local m = matrix.read_csv(DATA .. name .. '.csv', { columns = { 'value', 'label' } })
        local values, scores, detector = m:column 'value', {}, robust_z_score {}
        local model = detector.fit(values)
        for i, value in ipairs(values) do scores[i] = detector.judge(model, value).anomaly_score end
        assert.is_true(math.abs(roc_auc(scores, m:column 'label') - tonumber(auc)) <= 0.00005, name)
        tried = tried + 1
      end
    end
    assert.equal(11, tried)
  end)
end)
