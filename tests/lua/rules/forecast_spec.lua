local support = require 'lua.rules.support'

after_each(support.tidy)

local DURATION = 'expected a duration such as "30s", "5m" or "1h30m", not '

--- What is said of a forecast's fields, put behind its query.
local function says(cases)
  for fields, expected in pairs(cases) do
    it(fields, function()
      local problems = support.load('forecast "f" { query = "up",\n' .. fields .. '\n}')
      for i, p in ipairs(problems) do
        problems[i] = p:gsub('^r%.lua:', ''):gsub('forecast "f": ', '')
      end
      assert.same(type(expected) == 'string' and { expected } or expected, problems)
    end)
  end
end

describe('a forecast is told what is wrong with', function()
  says {
    ['horizn = "7d"'] = '2:1: unknown option "horizn"; did you mean "horizon"?',
    ['["for"] = "5m"'] = '2:1: unknown option "for"; here it is hold_for',
    ['horizon = 7'] = '2:1: horizon: ' .. DURATION .. 'a number',
    ['threshold = "450G"'] = '2:1: threshold: expected a number, not "450G"',
    ['threshold = 1/0'] = '2:1: threshold: expected a number, not inf',
    ['seasonality = "daily"'] =
      '2:1: seasonality: expected a list such as { "daily", "weekly" }, not "daily"',
    ['seasonality = { "daily",\n "weekli" }'] =
      '3:2: seasonality[2]: expected one of daily, weekly, yearly, not "weekli"; '
      .. 'did you mean "weekly"?',
    ['seasonality = { daily = 5 }'] =
      '2:17: seasonality.daily: expected true or false, not 5',
    ['model = "profet"'] =
      '2:1: model: expected one of auto, prophet, not "profet"; did you mean "prophet"?',
    ['direction = "both"'] = '2:1: direction: expected one of above, below, not "both"',
    ['growth = "logistic"'] =
      '2:1: growth: logistic growth needs "cap", the value that is never exceeded',
    ['cap = 1, floor = 2'] = '2:1: cap: is not above floor',
    ['timezone = "Mars"'] = '2:1: timezone: there is no time zone "Mars"',
    ['step = "8d"'] = '2:1: step: is longer than the horizon',
    ['step = "1s"'] = '2:1: step: horizon / step is 604800 times; at most 20000',
    ['history = "5h"'] =
      '2:1: history: history / step is 5 samples a series; at least 10 are needed',
    ['history = "30d", step = "20s", horizon = "1d"'] =
      '2:1: history: history / step is 129600 samples a series; at most 100000',
    ['alert_when = 3'] = '2:1: alert_when: expected a condition such as '
      .. '"days_until_threshold < 3", or a function, not 3',
    ['threshold = 1,\nalert_when = "days_until_treshold < 3"'] = '3:15: unknown name '
      .. '"days_until_treshold"; did you mean "days_until_threshold"?',
    ['threshold = 1, alert_when = [[\n  probability > 0.5\n  and days_50 << 3]]'] =
      '4:16: alert_when: expected a name or a number, not "<"',
    ['alert_when = "current_value > 1 and days_10 < 2"'] =
      '2:1: alert_when: "days_10" needs the option "threshold"',
    ['labels = { a = "{{ nope }}" }'] = '2:20: labels.a: function "nope" not defined',
  }
end)

describe('a forecast', function()
  it('has defaults for all but its query', function()
    local problems, warnings, set = support.load 'forecast "f" { query = "up" }'
    assert.same({ {}, {} }, { problems, warnings })
    local f = set.forecasts.f
    assert.same({ 3600, 30 * 86400, 7 * 86400, 3600, { 'daily', 'weekly' }, 'above', 'auto',
      'linear', 'UTC', 0, 0 }, { f.every, f.history, f.horizon, f.step, f.seasonality, f.direction,
      f.model, f.growth, f.timezone, f.hold_for, f.keep_firing_for })
    assert.is_nil(f.threshold)
  end)

  it('takes seasons as a list or by name, and none', function()
    local function seasons(text)
      local frame = 'forecast "f" { query = "up", seasonality = %s }'
      local _, _, set = support.load(frame:format(text))
      return set.forecasts.f.seasonality
    end
    assert.same({ 'weekly' }, seasons '{ "weekly" }')
    assert.same({ 'daily', 'yearly' }, seasons '{ yearly = true, daily = true, weekly = false }')
    assert.same({}, seasons '{}')
  end)

  it('without its query is no forecast', function()
    assert.same({ 'r.lua:1:1: forecast "f": option "query" is missing' },
      support.load 'forecast "f" {}')
  end)

  it('can be one of the signals of an incident, by a name of its own', function()
    local problems = support.load [[
      forecast "disk" { query = "up", threshold = 1, labels = { team = "a" } }
      incident "full" { signals = { "disk" }, min_signals = 1 }
      signal "disk" { query = "up", detector = threshold { above = 1 } }
    ]]
    assert.same({ 'r.lua:3:7: signal "disk": is declared already, as a forecast, at '
      .. 'r.lua:1' }, { (problems[1]:gsub('at .*/r', 'at r'):gsub('3:%d', '3:7')) })
    assert.equal(1, #problems)
  end)

  it('has a condition that is a function of the rule, or a text', function()
    local _, _, set = support.load [[
      forecast "f" { query = "up", threshold = 1,
        alert_when = function(f, about) return f.days_10 < 2 and about.labels.app == "shop" end }
      forecast "g" { query = "up", threshold = 1, alert_when = "days_10 < 2" }
    ]]
    local own, text = set.forecasts.f.alert_when.holds, set.forecasts.g.alert_when.holds
    assert.is_true(own({ days_10 = 1 }, { labels = { app = 'shop' } }))
    assert.is_false(own({ days_10 = 1 }, { labels = {} }))
    assert.is_true(text { days_10 = 1 })
    assert.is_false(text { days_10 = math.huge })
  end)

  it('is forecast anew when what it is forecast by has changed, and only then', function()
    local function digest(fields)
      local _, _, set = support.load(('forecast "f" { query = "up"%s }'):format(fields))
      return set.forecasts.f.model_digest
    end
    assert.equal(digest '', digest ', annotations = { a = "b" }, alert_when = "predicted_max > 3"')
    assert.not_equal(digest '', digest ', threshold = 3')
    assert.not_equal(digest '', digest ', seasonality = { "daily" }')
  end)
end)
