local fakes = require 'fakes.prometheus'
local file = require 'perigee.file'
local support = require 'lua.command.support'
local random = require('lua.detectors.support').random

local START = 1700006400

local folder
before_each(function() folder = assert(file.temporary_folder 'perigee-detect') end)
after_each(function() os.execute(("rm -rf '%s'"):format(folder)) end)

local function run(...) return support.run { cwd = folder, 'detect', ... } end

--- A file with two days of noise around 50, and then what is asked for: '' is a missing value.
local function write(name, ...)
  local draw, lines = random(3), { 'ts,value' }
  for i = 1, 576 do lines[#lines + 1] = ('%d,%.3f'):format(START + i * 300, 50 + draw()) end
  for i, value in ipairs { ... } do
    lines[#lines + 1] = ('%d,%s'):format(START + (576 + i) * 300, value)
  end
  assert(file.write(folder .. '/' .. name, table.concat(lines, '\n') .. '\n'))
  return name
end

describe('perigee detect', function()
  it('explains itself', function()
    support.explains_itself('detect', { 'data', 'url', 'config', 'history', 'step', 'detector',
      'set', 'plot', 'fail-on', 'json' })
  end)

  it('tells the verdict on the last sample and every anomaly as JSON', function()
    local result = run('--data', write('cpu.csv', 90), '--json')
    assert.same({ 0, '' }, { result.status, result.err })
    local list = support.document(result).series
    assert.equal(1, #list)
    local s = list[1]
    assert.same({ __name__ = 'cpu' }, s.labels)
    assert.equal('isolation_forest', s.detector)
    local latest = s.latest
    assert.same({ START + 577 * 300, 90, true },
      { latest.time, latest.value, latest.is_anomaly })
    assert.is_true(latest.anomaly_score > 0.6 and latest.confidence > 90)
    assert.matches('^90 is odd', latest.reason)
    assert.is_true(#s.anomalies > 10 and #s.anomalies < 40) -- 5 % of 577
    local last = s.anomalies[#s.anomalies]
    assert.same({ time = latest.time, value = 90, anomaly_score = latest.anomaly_score,
      confidence = latest.confidence }, last)
    for i = 2, #s.anomalies do
      assert.is_true(s.anomalies[i - 1].time < s.anomalies[i].time)
    end
  end)

  it('takes any detector and its options', function()
    local data = write('cpu.csv', 90, 50)
    local function anomalies(...)
      local result = run('--data', data, '--json', ...)
      assert.equal('', result.err)
      return support.document(result).series[1].anomalies
    end
    assert.equal(1, #anomalies('--detector', 'robust_z_score', '--set', 'threshold=20'))
    assert.equal(1, #anomalies('--detector', 'threshold', '--set', 'above=60'))
    assert.equal(578, #anomalies('--detector', 'threshold', '--set', 'above=10'))
    assert.is_true(#anomalies('--set', 'contamination=0.01') < 10)
    assert.is_true(#anomalies('--set', 'features=value,change') > 10)
  end)

  it('says no baseline, and a missing value, in place of a verdict', function()
    assert(file.write(folder .. '/short.csv', 'ts,value\n1,2\n2,3\n'))
    local short = support.document(run('--data', 'short.csv', '--json')).series[1]
    assert.same({ time = 2, value = 3, is_anomaly = false,
      reason = 'no baseline: 2 samples of the 100 needed' }, short.latest)
    assert.matches('"anomaly_score": null', run('--data', 'short.csv', '--json').out)
    assert.equal(0, #short.anomalies)
    local missing = support.document(run('--data', write('gap.csv', 90, ''), '--json')).series[1]
    assert.same({ nil, false, 'the value is missing' },
      { missing.latest.value, missing.latest.is_anomaly, missing.latest.reason })
  end)

  it('judges several files, in their order', function()
    local result = run('--data', write('b.csv', 90), '--data=' .. write('a.csv', 50), '--json')
    local list = support.document(result).series
    assert.same({ 'b', 'a' }, { list[1].labels.__name__, list[2].labels.__name__ })
    assert.same({ true, false }, { list[1].latest.is_anomaly, list[2].latest.is_anomaly })
  end)

  it('fails on an anomaly where it is told to', function()
    local odd, fine = write('odd.csv', 90), write('fine.csv', 90, 50.5)
    local function status(...)
      return run('--set', 'features=value', '--fail-on', 'anomaly', ...).status
    end
    assert.equal(1, status('--data', odd))
    assert.equal(0, status('--data', fine))
    assert.equal(1, status('--data', fine, '--data', odd))
  end)

  it('tells people in a table, with what was odd', function()
    local result = run('--data', write('cpu.csv', 90))
    assert.equal('', result.err)
    assert.matches('SERIES +LAST +VERDICT +SCORE +CONFIDENCE +ANOMALIES +HISTORY +REASON\n',
      result.out)
    assert.matches('\ncpu +90 +anomaly +0%.%d+ +%d+ %% +%d+ of 577 +[^%w]+ +90 is odd: ',
      result.out)
    assert.matches('\n\n[TW][^\n]+:\nFROM +LASTED +SCORE +CONFIDENCE +AT ITS ODDEST\n',
      result.out)
    assert.matches('2023%-11%-17 00:05:00Z +0s', result.out)
    local two = run('--data', write('a.csv'), '--data', write('b.csv'))
    assert.is_nil(two.out:find('AT ITS ODDEST', 1, true))
  end)

  it('draws a picture of each series', function()
    local result = run('--data', write('a.csv', 90), '--data', write('b.csv'), '--plot', 'x.svg')
    assert.equal('', result.err)
    local svg = assert(file.read(folder .. '/x.svg'))
    assert.matches('^<svg ', svg)
    assert.truthy(svg:find('isolation_forest', 1, true))
    assert.truthy(svg:find('anomaly', 1, true))
    assert.truthy(file.read(folder .. '/x-2.svg'))
    assert.equal(3, run('--data', 'a.csv', '--plot', 'no/such/x.svg').status)
  end)

  it('refuses what makes no sense', function()
    local data = write('a.csv')
    local function refused(pattern, ...)
      local result = run('--data', data, ...)
      assert.same({ 2, '' }, { result.status, result.out })
      assert.matches(pattern, result.err)
    end
    refused('unknown detector "z_scor"; did you mean "z_score"%?', '--detector', 'z_scor')
    refused('unknown detector "combine"', '--detector', 'combine')
    refused('%-%-set: unknown option "contaminaton"; did you mean "contamination"%?', '--set',
      'contaminaton=1')
    refused('%-%-set: expected NAME=VALUE, not "x"', '--set', 'x')
    refused('%-%-set: contamination: expected a number above 0', '--set', 'contamination=much')
    refused('threshold: one of "above" and "below" is needed', '--detector', 'threshold')
    refused('%-%-fail%-on: expected anomaly, not "x"', '--fail-on', 'x')
  end)

  it('judges the history of an expression in a source', function()
    local source = fakes.serve()
    local draw, values = random(9), {}
    source.values.q = function(t)
      values[t] = values[t] or 10 + draw()
      return { { labels = { __name__ = 'm', app = 'a' }, value = values[t] },
        { labels = { __name__ = 'm', app = 'b' }, value = 5 } }
    end
    local result = run('q', '--url', source.url, '--history', '1d', '--json')
    source:close()
    assert.equal('', result.err)
    local list = support.document(result).series
    assert.same({ 'a', 'b' }, { list[1].labels.app, list[2].labels.app })
    assert.equal('5, as ever', list[2].latest.reason)
    assert.is_true(#list[1].anomalies > 5)
  end)
end)
