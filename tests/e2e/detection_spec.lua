--- Detectors that learn from a real Prometheus: they fire, outlive a restart without learning
--- again, and learn anew without a look that goes without a verdict.
local async = require 'async'
local clock = require 'perigee.clock'
local http = require 'http'
local json = require 'json'
local random = require('lua.detectors.support').random
local world = require 'e2e.world'

local DAYS, STEP = 3, 60

--- A program whose load is what `values.load` says, and the address to scrape.
local function app(values)
  local server = assert(http.serve({}, function()
    return { headers = { ['Content-Type'] = 'text/plain; version=0.0.4' },
      body = ('# TYPE load gauge\nload{app="shop"} %s\n'):format(values.load) }
  end))
  return server, ('127.0.0.1:%d'):format(server:port())
end

--- What the load was, as OpenMetrics text: around 50, a sample a minute.
local function history(target, now)
  local draw, out = random(4), { '# TYPE load gauge' }
  for i = DAYS * 86400 // STEP, 0, -1 do
    out[#out + 1] = ('load{app="shop",instance="%s",job="shop"} %.3f %d'):format(target,
      48 + 4 * draw(), now - i * STEP)
  end
  out[#out + 1] = '# EOF\n'
  return table.concat(out, '\n')
end

local RULES = [[
signal "load" { query = "load", every = "1s",
  detector = isolation_forest { history = "2d", step = "1m", retrain = "%s", features = "%s",
    contamination = 0.01 } }
]]

describe('a forest on a real Prometheus', function()
  local w, server, values, url
  setup(function()
    local target
    w, values = world.new(), { load = 50 }
    server, target = app(values)
    url = w:prometheus { targets = { target }, history = history(target, os.time() // 60 * 60) }
  end)
  teardown(function()
    w:close()
    server:close()
  end)
  before_each(function() values.load = 50 end)

  local function condition(p, wanted)
    return function()
      local signal = p:signal 'load'
      local s = signal and signal.series[1]
      return s and s.condition == wanted and s
    end
  end

  it('fires, and does not learn again after a restart', function()
    local p = w:perigee { name = 'restart', source = url,
      rules = { ['load.lua'] = RULES:format('1d', 'rolling') } }
    w:wait_for('a baseline', 60, condition(p, 'ok'))
    assert.equal(1, p:metric 'perigee_model_fits_total{outcome="fitted"}')
    values.load = 500
    local s = w:wait_for('an anomaly', 30, condition(p, 'anomaly'))
    assert.equal('firing', s.state)
    assert.matches('^500 is odd: what stands out is ', s.reason)
    p:stop()
    p:start()
    local again = w:wait_for('a verdict', 30, function()
      local now = condition(p, 'anomaly')()
      return now and p:metric 'perigee_rule_evaluations_total{rule="signal/load"}' > 1 and now
    end)
    assert.matches('^500 is odd: ', again.reason)
    assert.equal(0, p:metric 'perigee_model_fits_total{outcome="fitted"}')
    p:stop()
  end)

  it('learns anew while the old one serves', function()
    local p = w:perigee { name = 'retrain', source = url,
      rules = { ['load.lua'] = RULES:format('2s', 'value_hour_weekday') } }
    w:wait_for('a baseline', 60, condition(p, 'ok'))
    local until_then = clock.monotonic() + 60
    while p:metric 'perigee_model_fits_total{outcome="fitted"}' < 4 do
      assert.is_true(clock.monotonic() < until_then, 'it is not learned anew')
      assert.equal('ok', p:signal('load').series[1].condition)
      async.sleep(0.1)
    end
    p:stop()
  end)

  it('is what perigee detect shows of the same history', function()
    local status, out, err = w:cli('detect', 'load', '--url', url, '--history', '2d', '--step',
      '1m', '--set', 'contamination=0.01', '--json')
    assert.same({ 0, '' }, { status, err })
    local s = json.decode(out).series[1]
    assert.same({ 'shop', 'isolation_forest' }, { s.labels.app, s.detector })
    assert.is_true(#s.anomalies > 10 and #s.anomalies < 60)
  end)
end)
