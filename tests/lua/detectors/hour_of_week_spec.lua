local calendar = require 'calendar'
local hour_of_week = require 'detectors.hour_of_week'
local support = require 'lua.detectors.support'

local MONDAY = 1767571200 -- 2026-01-05T00:00:00Z
local HOUR, DAY, WEEK = 3600, 86400, 7 * 86400

--- Samples of f(hour of the week, sample's number in the hour) for some weeks.
local function history(weeks, step, f)
  local values, times = {}, {}
  for t = MONDAY, MONDAY + weeks * WEEK - 1, step do
    local n = #values + 1
    values[n], times[n] = f((t - MONDAY) // HOUR % 168, t % HOUR // step, t), t
  end
  return values, times
end

--- Busy on working days from nine to five; each hour's samples are 0, 1 … above that.
local function office(hour, i)
  local day, of_day = hour // 24, hour % 24
  return (day < 5 and of_day >= 9 and of_day < 17 and 100 or 10) + i
end

describe('hour_of_week', function()
  it('knows what is usual at this hour of the week', function()
    local detector = hour_of_week {}
    local model = assert(detector.fit(history(2, 300, office)))
    local later = MONDAY + 4 * WEEK
    local function odd(value, t) return detector.judge(model, value, later + t).is_anomaly end
    assert.same({ false, true }, { odd(105, 12 * HOUR), odd(15, 12 * HOUR) }) -- Monday at noon
    assert.same({ true, false }, { odd(105, 6 * DAY), odd(15, 6 * DAY) })     -- Sunday at midnight
  end)

  it('scores in deviations off the hour\'s own median', function()
    -- Twelve samples an hour and week, 0 … 11, the same in every hour: median 5.5, MAD 3.
    local detector = hour_of_week {}
    local model = detector.fit(history(2, 300, function(_, i) return i end))
    local v = detector.judge(model, 35.5, MONDAY)
    assert.is_true(support.close(v.anomaly_score, 30 / (1.4826 * 3))) -- 6.745
    assert.is_true(support.close(v.confidence, 100 - 50 * 3.5 / (30 / (1.4826 * 3))))
    assert.same({ true, '35.5 is 6.7 deviations off the 5.5 usual at this hour of the week' },
      { v.is_anomaly, v.reason })
    assert.is_false(detector.judge(model, 5.5 + 3.4 * 1.4826 * 3, MONDAY).is_anomaly)
  end)

  it('takes the spread of the hours beside it too', function()
    -- The hour itself is flat; of the 36 samples around it, 12 are 7 and the others 0 … 11 twice.
    local function f(hour, i) return hour == 30 and 7 or i end
    local model = hour_of_week {}.fit(history(1, 300, f))
    -- The median of 36 is the mean of the 18th and the 19th.
    local near = {}
    for _ = 1, 12 do near[#near + 1] = 7 end
    for i = 0, 11 do near[#near + 1], near[#near + 2] = i, i end
    table.sort(near)
    local median = (near[18] + near[19]) / 2
    for i, x in ipairs(near) do near[i] = math.abs(x - median) end
    table.sort(near)
    assert.equal(7, model.median[31])
    assert.is_true(support.close(model.scale[31], 1.4826 * (near[18] + near[19]) / 2))
  end)

  it('believes no spread below a tenth of the whole series\' own', function()
    -- Each hour is flat: 0 in the first half of the week, 100 in the other.
    local detector = hour_of_week {}
    local model = detector.fit(history(1, 300, function(hour) return hour < 84 and 0 or 100 end))
    -- median 50, every sample is 50 away from it
    assert.is_true(support.close(model.scale[1], 0.1 * 1.4826 * 50))
    assert.is_false(detector.judge(model, 25, MONDAY).is_anomaly)
    assert.is_true(detector.judge(model, 27, MONDAY).is_anomaly)
  end)

  it('goes by the hours of a time zone, also when the clocks change', function()
    local berlin = assert(calendar.zone 'Europe/Berlin')
    local start = 1772409600 -- 2026-03-02T00:00:00Z, a Monday four weeks before summer time
    local values, times = {}, {}
    for t = start, start + 4 * WEEK - 1, 300 do
      values[#values + 1] = (calendar.hour_of_day(t, berlin) == 9 and 100 or 10) + t // 300 % 12
      times[#times + 1] = t
    end
    local detector = hour_of_week { timezone = 'Europe/Berlin' }
    local model = assert(detector.fit(values, times))
    local monday = start + 5 * WEEK -- in summer time: 09:30 in Berlin is 07:30 in UTC
    assert.is_false(detector.judge(model, 105, monday + 7.5 * HOUR).is_anomaly)
    assert.is_true(detector.judge(model, 105, monday + 8.5 * HOUR).is_anomaly)
  end)

  it('has a direction', function()
    local function odd(direction, value)
      local detector = hour_of_week { direction = direction }
      return detector.judge(detector.fit(history(1, 300, office)), value, MONDAY).is_anomaly
    end
    assert.same({ true, false, false, true }, { odd('above', 100), odd('above', -100),
      odd('below', 100), odd('below', -100) })
  end)

  it('has no baseline for an hour without history', function()
    local values, times = history(1, 300, office)
    for i = 1, #values do
      if (times[i] - MONDAY) // DAY >= 5 then values[i] = support.NAN end -- the weekend
    end
    local detector = hour_of_week {}
    local model = assert(detector.fit(values, times))
    assert.same({ is_anomaly = false,
      reason = 'no baseline: no history for this hour of the week' },
      detector.judge(model, 15, MONDAY + 5 * DAY))
    assert.equal(0, (detector.judge(model, 15.5, MONDAY).anomaly_score))
  end)

  it('has no baseline from too few samples of every hour, or from none', function()
    local values, times = history(1, HOUR, function() return 1 end) -- three with its neighbours
    assert.same({ nil, 'no baseline: no hour of the week has 6 samples' },
      { hour_of_week {}.fit(values, times) })
    assert.is_table(hour_of_week({ min_samples = 3 }).fit(values, times))
    local none = 'no baseline: every sample is missing'
    assert.same({ nil, none }, { hour_of_week {}.fit({}, {}) })
    assert.same({ nil, none }, { hour_of_week {}.fit({ support.NAN }, { MONDAY }) })
  end)

  it('takes infinities for missing samples', function()
    local function f(hour, i) return hour == 5 and support.INF or i end
    local values, times = history(1, 300, f)
    local detector = hour_of_week {}
    local model = assert(detector.fit(values, times))
    assert.matches('^no baseline', detector.judge(model, 1, MONDAY + 5 * HOUR).reason)
    assert.is_false(detector.judge(model, 5, MONDAY + 4 * HOUR).is_anomaly)
  end)

  it('says what it wants to learn from', function()
    assert.same({ range = 14 * DAY, step = 300, retrain = 3600 }, hour_of_week {}.history)
  end)

  it('refuses options that are wrong', function()
    assert.matches('^hour_of_week: timezone: .*Mars/Phobos',
      support.refusal(hour_of_week, { timezone = 'Mars/Phobos' }))
    assert.equal('hour_of_week: min_samples: expected a whole number of at least 2, not 1.5',
      support.refusal(hour_of_week, { min_samples = 1.5 }))
  end)
end)
