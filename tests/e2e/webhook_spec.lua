--- Alerts in: a real Alertmanager, and a thousand a second with a kill -9 in between.
local alertmanager = require 'alertmanager'
local async = require 'async'
local clock = require 'perigee.clock'
local http = require 'http'
local json = require 'json'
local store = require 'perigee.store'
local testing = require 'testing.world'
local world = require 'e2e.world'

local PATH <const> = '/api/v1/webhook/alertmanager'
local SECONDS <const> = os.getenv 'SOAK' and 30 or 3
local RATE <const> = 1000
local AT_ONCE <const> = 150

local w, p
before_each(function() w = world.new() end)
after_each(function() w:close() end)

local function start(o)
  p = w:perigee { tokens = { admin = 'admin', otto = 'alert_sender' }, rules = o and o.rules,
    config = o and o.config }
  return p
end

--- The alerts that it knows of one name, by their status.
local function known(name)
  local out = {}
  for _, alert in ipairs(p:get '/api/v1/webhook/alerts') do
    if alert.labels.alertname == name then out[alert.status] = (out[alert.status] or 0) + 1 end
  end
  return out
end

describe('a real Alertmanager', function()
  local am, config

  --- Starts it, again too: what it has told of it knows afterwards.
  local function start_alertmanager(port)
    local child = w:start('alertmanager', { 'prometheus-alertmanager',
      '--config.file=' .. config, '--storage.path=' .. w:path 'alertmanager',
      '--cluster.listen-address=', ('--web.listen-address=127.0.0.1:%d'):format(port) })
    am = ('http://127.0.0.1:%d'):format(port)
    w:wait_for('Alertmanager', 30, function() return testing.get(am .. '/-/ready') end)
    return child
  end

  local function post(labels, more)
    local alert = { labels = labels, annotations = { summary = 'ü <b>' } }
    for k, v in pairs(more or {}) do alert[k] = v end
    local response = assert(http.request { method = 'POST', url = am .. '/api/v2/alerts',
      headers = { ['Content-Type'] = 'application/json' }, body = json.encode { alert } })
    assert.equal(200, response.status)
  end

  it('is understood: firing, repeated, resolved, and over its restart and ours', function()
    start()
    config = w:write('alertmanager.yml', ([[
route: { receiver: perigee, group_by: [alertname], group_wait: 0s, group_interval: 1s,
         repeat_interval: 1s }
receivers:
  - name: perigee
    webhook_configs:
      - url: "%s"
        send_resolved: true
        http_config: { authorization: { type: Bearer, credentials_file: %s } }
]]):format(p.url .. PATH, p.files.otto))
    local port = testing.free_port()
    local child = start_alertmanager(port)
    local labels = { alertname = 'HighErrorRate', app = 'checkout', ['severity'] = 'critical' }
    local since = clock.text(clock.now() - 60)
    post(labels, { startsAt = since })
    w:wait_for('the alert', 15, function() return known('HighErrorRate').firing == 1 end)
    w:wait_for('its repetition', 15, function()
      return p:metric 'perigee_webhook_alerts_total{outcome="repeated"}' >= 1
    end)
    local alert = p:get('/api/v1/webhook/alerts')[1]
    assert.same(labels, alert.labels)
    assert.same({ summary = 'ü <b>' }, alert.annotations)
    assert.equal(alertmanager.fingerprint(labels), alert.fingerprint) -- Alertmanager's own
    assert.equal(since, alert.starts_at)

    -- Ours is away while another alert comes: Alertmanager tells of it again.
    p:stop(9)
    post({ alertname = 'While away' }, { startsAt = since })
    async.sleep(1.2)
    p:start()
    w:wait_for('what came meanwhile', 20, function() return known('While away').firing == 1 end)
    child:kill(15)
    child:wait(10)
    start_alertmanager(port)
    post(labels, { startsAt = since })
    post(labels, { startsAt = since, endsAt = clock.text(clock.now()) })
    w:wait_for('the end', 20, function() return known('HighErrorRate').resolved == 1 end)
    assert.same({ resolved = 1 }, known 'HighErrorRate')
    assert.equal(0, p:metric 'perigee_webhook_alerts_total{outcome="refused"}')
  end)
end)

describe('a thousand alerts a second', function()
  local function body(i)
    local labels = { alertname = 'Load', i = tostring(i), namespace = 'shop', severity = 'page' }
    return json.encode { version = '4', status = 'firing', receiver = 'perigee', groupKey = '{}',
      groupLabels = {}, commonLabels = {}, commonAnnotations = {}, externalURL = 'http://am',
      truncatedAlerts = 0, alerts = { { status = 'firing', labels = labels,
        annotations = { summary = 'a summary of some length, as they are' },
        startsAt = '2026-01-01T00:00:00.123456789Z', endsAt = '0001-01-01T00:00:00Z',
        generatorURL = 'http://prometheus/graph?g0.expr=up', fingerprint = ('%016x'):format(i) } } }
  end

  --- Sends one until it is acknowledged, as Alertmanager does. Returns the seconds that it took,
  --- where the first attempt was enough.
  local function deliver(i)
    local from, first = clock.monotonic(), true
    while true do
      local response = http.request { method = 'POST', url = p.url .. PATH, body = body(i),
        headers = { Authorization = 'Bearer ' .. p.tokens.otto,
          ['Content-Type'] = 'application/json' } }
      if response and response.status == 200 then
        return first and clock.monotonic() - from or nil
      end
      assert(not response or response.status >= 500, response and response.body)
      assert(clock.monotonic() - from < 60, 'an alert is not taken for a minute')
      first = false
      async.sleep(0.2)
    end
  end

  --- Sends as many as are due, each in a task of its own; calls done(i, seconds) for each.
  local function send(first, last, done)
    local began, sent, under_way = clock.monotonic(), first - 1, 0
    while sent < last or under_way > 0 do
      local due = math.min(last, first + math.floor((clock.monotonic() - began) * RATE))
      while sent < due and under_way < AT_ONCE do
        sent, under_way = sent + 1, under_way + 1
        async.spawn(function(i)
          local _ <close> = setmetatable({}, { __close = function() under_way = under_way - 1 end })
          done(i, deliver(i))
        end, sent)
      end
      async.sleep(0.001)
    end
    return clock.monotonic() - began
  end

  it('are answered within 10 ms, and a kill -9 loses none that was acknowledged', function()
    start()
    local acknowledged, n, times = {}, 0, {}
    local half = RATE * SECONDS // 2
    local function done(i, seconds)
      acknowledged[('%016x'):format(i)], n = true, n + 1
      times[#times + 1] = seconds
    end
    local took = send(1, half, done)
    table.sort(times)
    local p99 = times[math.ceil(#times * 0.99)]
    print(('webhook: %d alerts in %.1f s, p50 %.1f ms, p99 %.1f ms'):format(half, took,
      1000 * times[#times // 2], 1000 * p99))
    -- The second half meets a crash in its middle.
    local crash = async.spawn(function()
      async.sleep(SECONDS / 4)
      p:stop(9)
      p:start()
    end)
    send(half + 1, 2 * half, done)
    crash:await()
    p:stop()
    assert.equal(2 * half, n)
    local kept, rows = 0, assert(store.open(p.folder .. '/data/perigee.db'))
    for _, row in ipairs(rows:rows "select fingerprint, status from alerts where name = 'Load'") do
      assert.equal('firing', row.status)
      if acknowledged[row.fingerprint] then kept = kept + 1 end
    end
    rows:close()
    assert.equal(n, kept)
    if os.getenv 'SOAK' then assert.is_true(p99 <= 0.010) end
  end)
end)
