--- `perigee forecast` on files, by the model itself.
local file = require 'perigee.file'
local support = require 'lua.command.support'

local START, HOUR, DAY = 1764547200, 3600, 86400

local folder
before_each(function() folder = assert(file.temporary_folder 'perigee-forecast') end)
after_each(function() os.execute(("rm -rf '%s'"):format(folder)) end)

--- A CSV file of hourly samples, value(i, days).
local function csv(name, days, value)
  local lines = { 'ts,value' }
  for i = 0, days * 24 - 1 do
    lines[#lines + 1] = ('%d,%s'):format(START + i * HOUR, value(i, i / 24))
  end
  local path = ('%s/%s.csv'):format(folder, name)
  assert(file.write(path, table.concat(lines, '\n') .. '\n'))
  return path
end

--- A disk that grows by `rate` GB a day from 300, with a daily swing and a little noise.
local function disk(name, rate, days)
  return csv(name, days or 30, function(i, day)
    return ('%.3f'):format(300 + rate * day + 4 * math.sin(2 * math.pi * day)
      + (i * 7919 % 101 - 50) / 100)
  end)
end

local function document(...)
  local result = support.run { 'forecast', '--json', ... }
  assert.equal('', result.err)
  return support.document(result).forecasts, result.status
end

describe('perigee forecast', function()
  it('explains itself', function()
    support.explains_itself('forecast', { 'data', 'url', 'config', 'history', 'step', 'horizon',
      'threshold', 'direction', 'seasonality', 'model', 'growth', 'cap', 'floor', 'timezone',
      'unit', 'plot', 'fail-on', 'json' })
  end)

  it('finds when a disk is full, by either model', function()
    local path = disk('disk', 4)
    for _, model in ipairs { 'auto', 'prophet' } do
      local list, status = document('--data', path, '--threshold', '438', '--model', model)
      local f = list[1]
      assert.same({ 0, 1, 'disk', {}, 438 }, { status, #list, f.metric, f.labels, f.threshold })
      -- At the end 420, so that 438 is 4.5 days away, or 3.5 by the peak of a day.
      assert.is_true(f.days_until_threshold > 3 and f.days_until_threshold < 5)
      local q = f.days_quantiles
      assert.is_true(q['0.1'] > 0 and q['0.1'] <= q['0.5'] and q['0.5'] <= q['0.9'])
      assert.is_true(f.probability > 0.9)
      assert.same({ 168, 168, 168, 168 }, { #f.ds, #f.yhat, #f.yhat_lower, #f.yhat_upper })
      assert.equal(START + 30 * DAY, f.ds[1])
      local most, first = -math.huge, nil
      for i = 1, 168 do
        assert.is_true(f.yhat_lower[i] <= f.yhat[i] and f.yhat[i] <= f.yhat_upper[i])
        most = math.max(most, f.yhat_upper[i])
        if not first and f.yhat[i] >= 438 then first = f.ds[i] end
      end
      assert.equal(most, f.predicted_max)
      assert.near((first - (START + 30 * DAY - HOUR)) / DAY, f.days_until_threshold, 1 / 24)
      assert.near(4, f.drivers.trend, 0.5)
      assert.near(8, f.drivers.daily, 1)
      assert.matches('^will be up to 438 in %d.%d days, growing by %d.*: add capacity before %a+ '
        .. '%d', f.recommendation)
    end
  end)

  it('gives the same each time', function()
    local path = disk('disk', 4)
    local args = { 'forecast', '--json', '--data', path, '--threshold', '438' }
    assert.equal(support.run(args).out, support.run(args).out)
  end)

  it('ranks several series by urgency, and draws a chart of each', function()
    local slow, fast, flat = disk('slow', 2), disk('fast', 6), disk('flat', 0)
    local picture = folder .. '/out.svg'
    local result = support.run { 'forecast', '--data', slow, '--data', flat, '--data', fast,
      '--threshold', '500', '--plot', picture, '--fail-on', 'breach' }
    assert.same({ 1, '' }, { result.status, result.err })
    local order = {}
    for name in result.out:gmatch '\n(%l+) ' do order[#order + 1] = name end
    assert.same({ 'fast', 'slow', 'flat' }, order)
    assert.truthy(result.out:find '▁.*┊')
    assert.truthy(result.out:find 'never')
    for i, part in ipairs { '/out.svg', '/out-2.svg', '/out-3.svg' } do
      local svg = assert(file.read(folder .. part, 1 << 20))
      assert.truthy(svg:find('>' .. ({ 'fast', 'slow', 'flat' })[i] .. '<', 1, true))
      assert.truthy(svg:find('class="fit"', 1, true))
      assert.is_true(#svg < 60000)
    end
  end)

  it('ends with status 1 by --fail-on only where the threshold is met', function()
    local path = disk('disk', 4)
    assert.equal(0, support.run { 'forecast', '--data', path, '--threshold', '500', '--fail-on',
      'breach' }.status)
    assert.equal(1, support.run { 'forecast', '--data', path, '--threshold', '430', '--fail-on',
      'breach' }.status)
    assert.equal(0, support.run { 'forecast', '--data', path, '--threshold', '430' }.status)
  end)

  it('knows of what is beyond already, of constants, and of no threshold', function()
    local constant = csv('constant', 10, function() return '5' end)
    local f = document('--data', constant, '--threshold', '4')[1]
    assert.same({ 0, 1, 5 }, { f.days_until_threshold, f.probability, f.current_value })
    f = document('--data', constant, '--threshold', '6')[1]
    assert.equal(-1, f.days_until_threshold)
    assert.near(5, f.predicted_max, 0.01)
    assert.equal('not projected to reach 6 within 7 days', f.recommendation)
    f = document('--data', constant)[1]
    assert.same({ -1, nil, nil }, { f.days_until_threshold, f.threshold, f.probability })
    f = document('--data', constant, '--threshold', '5', '--direction', 'below')[1]
    assert.equal(0, f.days_until_threshold)
  end)

  it('says of what cannot be forecast why', function()
    local few = csv('few', 1, function(i) return i < 5 and '1' or '' end)
    local missing = csv('missing', 2, function() return '' end)
    local result = support.run { 'forecast', '--json', '--data', few, '--data', missing,
      '--threshold', '2' }
    assert.equal(1, result.status)
    assert.equal('perigee: few: no forecast: 5 samples; at least 10 are needed\n'
      .. 'perigee: missing: no forecast: every sample is missing\n', result.err)
    local list = support.document(result).forecasts
    assert.same({ -1, {}, 'no forecast: 5 samples; at least 10 are needed' },
      { list[1].days_until_threshold, list[1].yhat, list[1].recommendation })
    -- Beside one that can, it is no failure.
    local mixed = document('--data', few, '--data', disk('disk', 4), '--threshold', '438')
    assert.same({ 'disk', 'few' }, { mixed[1].metric, mixed[2].metric })
  end)

  it('goes by infinite and huge values no further than it can', function()
    local odd = csv('odd', 10, function(i) return i % 50 == 7 and 'Inf' or tostring(i) end)
    local result = support.run { 'forecast', '--json', '--data', odd, '--threshold', '300' }
    assert.is_true(result.status == 0 or result.status == 2)
    local huge = csv('huge', 10, function(i) return ('%.0fe300'):format(i + 1) end)
    result = support.run { 'forecast', '--data', huge, '--threshold', '1' }
    assert.equal(1, result.status)
    assert.truthy(result.err:find('values beyond 1e300', 1, true))
  end)

  it('refuses what makes no sense, before it reads anything', function()
    for expected, args in pairs {
      ['--threshold: expected a number, not "much"'] = { '--threshold', 'much' },
      ['--model: expected one of auto, prophet, not "profit"'] = { '--model', 'profit' },
      ['--horizon: expected a duration'] = { '--horizon', '7' },
      ['--step: is longer than the horizon'] = { '--step', '8d' },
      ['--seasonality: "hourly" is none of daily, weekly, yearly'] = { '--seasonality', 'hourly' },
      ['--growth: logistic growth needs "cap"'] = { '--growth', 'logistic' },
      ['--timezone: there is no time zone "Mars"'] = { '--timezone', 'Mars' },
      ['--fail-on needs --threshold'] = { '--fail-on', 'breach' },
    } do
      local result = support.run { 'forecast', '--data', '/nowhere.csv', table.unpack(args) }
      assert.same({ 2, '' }, { result.status, result.out })
      assert.truthy(result.err:find('perigee: ' .. expected, 1, true), result.err)
    end
    assert.equal(2, support.run({ 'forecast', '--data', '/nowhere.csv' }).status)
    assert.equal(2, support.run({ 'forecast' }).status)
    local path = disk('disk', 4)
    local unwritten = support.run { 'forecast', '--data', path, '--plot', '/nowhere/a.svg' }
    assert.equal(3, unwritten.status)
    assert.equal(3, support.run({ 'forecast', 'up', '--url', 'http://127.0.0.1:1' }).status)
  end)

  it('keeps within cap and floor, and takes prefixes of numbers', function()
    local path = disk('disk', 4)
    local f = document('--data', path, '--threshold', '1k', '--cap', '430')[1]
    assert.same({ 430, -1, 1000 }, { f.predicted_max, f.days_until_threshold, f.threshold })
  end)
end)
