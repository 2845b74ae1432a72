--- Forecasts of a disk that fills, from a real Prometheus: by hand, and by the service, whose alert
--- opens an incident and survives a restart.
local json = require 'json'
local world = require 'e2e.world'

--- Thirty days of two disks, every ten minutes: one at 70 % that grows by 2.5 % a day, one that
--- stays.
local function history(now)
  local out, n = { '# TYPE disk_used_ratio gauge' }, 30 * 144
  for i = 0, n do
    local at, day = now - (n - i) * 600, (i - n) / 144
    local swing = 0.01 * math.sin(2 * math.pi * at / 86400)
    out[#out + 1] = ('disk_used_ratio{disk="data"} %.5f %d'):format(0.83 + 0.025 * day + swing, at)
  end
  for i = 0, n do
    out[#out + 1] = ('disk_used_ratio{disk="logs"} 0.4 %d'):format(now - (n - i) * 600)
  end
  out[#out + 1] = '# EOF\n'
  return table.concat(out, '\n')
end

local RULES = [[
forecast "disk_full" {
  query = "disk_used_ratio", threshold = 0.9, every = "2s", unit = "percent",
  alert_when = "days_until_threshold < 4",
  annotations = { summary = "{{ $labels.disk }} is full in {{ printf \"%.0f\" $value }} days" },
}
incident "disk" { signals = { "disk_full" }, min_signals = 1, group_by = { "disk" } }
]]

describe('forecasts from a real Prometheus', function()
  local w, url
  setup(function()
    w = world.new()
    url = w:prometheus { targets = { '127.0.0.1:1' }, history = history(os.time() // 600 * 600) }
  end)
  teardown(function() w:close() end)

  it('tell by hand which disk is full first', function()
    local status, out, err = w:cli('forecast', 'disk_used_ratio', '--url', url, '--threshold',
      '0.9', '--json')
    assert.same({ 0, '' }, { status, err })
    local list = json.decode(out).forecasts
    assert.same({ 2, 'disk_used_ratio', { disk = 'data' }, { disk = 'logs' } },
      { #list, list[1].metric, list[1].labels, list[2].labels })
    -- 7 % are 2.8 days, a few hours less by the peak of a day.
    assert.is_true(list[1].days_until_threshold > 1.8 and list[1].days_until_threshold < 3.2)
    assert.near(0.025, list[1].drivers.trend, 0.005)
    assert.equal(-1, list[2].days_until_threshold)
    assert.equal(1, (w:cli('forecast', 'disk_used_ratio', '--url', url, '--threshold', '0.9',
      '--fail-on', 'breach')))
    assert.equal(1, (w:cli('forecast', 'nothing', '--url', url)))
    assert.equal(2, (w:cli('forecast', 'sum(', '--url', url)))
  end)

  it('alert in the service, open an incident, and survive a restart', function()
    local p = w:perigee { source = url, rules = { ['r.lua'] = RULES } }
    local incident = p:wait_for('an incident', 20, function()
      return p:get('/api/v1/incidents')[1]
    end)
    assert.same({ 'disk', { disk = 'data' } }, { incident.name, incident.labels })
    local alert = p:get('/api/v1/alerts').alerts[1]
    assert.same({ 'firing', { alertname = 'disk_full', disk = 'data' } },
      { alert.state, alert.labels })
    assert.matches('^data is full in [23] days$', alert.annotations.summary)
    assert.matches('^will be up to 90 %%', alert.annotations.recommendation)
    local list = p:get '/api/v1/forecasts'
    assert.same({ 'disk_full', 'firing', 'data', 'inactive', 'logs' }, { list[1].name,
      list[1].state, list[1].labels.disk, list[2].state, list[2].labels.disk })
    assert.equal(168, #list[1].yhat)
    local days = p:metric([[perigee_forecast_days_until_threshold{forecast="disk_full",]]
      .. [[series="disk=\"data\""}]])
    assert.near(list[1].days_until_threshold, days, 0.1)
    p:stop(9)
    p:start()
    assert.equal('firing', p:get('/api/v1/forecasts')[1].state)
    p:stop()
  end)
end)
