--- Failures predicted from a real Prometheus: trained on its history and on alerts that fired,
--- asked by the command line, and watched by a running perigee.
local http = require 'http'
local json = require 'json'
local service = require 'lua.prediction.support'
local world = require 'e2e.world'

local DAYS <const>, STEP <const> = 8, 300
local APPS <const> = { 'shop', 'cart' }
local QUERIES = { cpu_usage = 'f_cpu', memory_usage = 'f_mem', error_rate = 'f_err',
  thread_count = 'sum(f_threads)' }

--- Eight days of two services as OpenMetrics text: after a row that leads to a failure the alert
--- fires for ten minutes.
local function history(now)
  local n = DAYS * 86400 // STEP
  local families = { f_cpu = {}, f_mem = {}, f_err = {}, f_threads = {}, ALERTS = {} }
  for a, app in ipairs(APPS) do
    local data, firing = service.service(n, a), 0
    for i = 1, n do
      local t = now - (n - i) * STEP
      local function add(name, labels, value)
        table.insert(families[name], ('%s{app="%s"%s} %.10g %d'):format(name, app, labels, value,
          t))
      end
      for j, name in ipairs { 'f_cpu', 'f_mem', 'f_err', 'f_threads' } do
        add(name, '', data.rows[i][j])
      end
      if firing > 0 then
        add('ALERTS', ',alertname="Down",alertstate="firing",severity="page"', 1)
      end
      firing = data.y[i] == 1 and 2 or firing - 1
    end
  end
  local out = {}
  for _, name in ipairs { 'ALERTS', 'f_cpu', 'f_err', 'f_mem', 'f_threads' } do
    out[#out + 1] = ('# TYPE %s gauge'):format(name)
    table.move(families[name], 1, #families[name], #out + 1, out)
  end
  out[#out + 1] = '# EOF\n'
  return table.concat(out, '\n')
end

--- What is scraped: one service is well, the other is not.
local function app(values)
  local server = assert(http.serve({}, function()
    local lines = {}
    for _, metric in ipairs { 'f_cpu', 'f_err', 'f_mem', 'f_threads' } do
      lines[#lines + 1] = ('# TYPE %s gauge'):format(metric)
      for name, row in pairs(values) do
        lines[#lines + 1] = row[metric] and ('%s{app=%q} %s'):format(metric, name, row[metric])
      end
    end
    return { headers = { ['Content-Type'] = 'text/plain; version=0.0.4' },
      body = table.concat(lines, '\n') .. '\n' }
  end))
  return server, ('127.0.0.1:%d'):format(server:port())
end

describe('failures', function()
  local w, server, url, values, features, model
  setup(function()
    w = world.new()
    values = { shop = { f_cpu = 50, f_mem = 42, f_err = 0.001, f_threads = 150 },
      cart = { f_cpu = 50, f_mem = 88, f_err = 0.09, f_threads = 150 } }
    local target
    server, target = app(values)
    url = w:prometheus { targets = { target },
      history = history(os.time() // STEP * STEP - 2 * STEP) } -- what is scraped stands alone
    local lines = {}
    for name, query in pairs(QUERIES) do lines[#lines + 1] = ('%s: %s'):format(name, query) end
    features, model = w:write('features.yaml', table.concat(lines, '\n') .. '\n'),
      w:path 'down.model'
    w:wait_for('the scrape', 20, function()
      local response = http.request { url = url .. '/api/v1/query?query=count(f_cpu)' }
      local answer = response and json.decode(response.body)
      return answer and answer.data and answer.data.result[1]
        and answer.data.result[1].value[2] == '2'
    end)
  end)
  teardown(function()
    w:close()
    server:close()
  end)

  local function train(...)
    return w:cli('train', '--url', url, '--features', features, '--alert', 'Down', '--history',
      '8d', '--step', '5m', '--horizon', '30m', '--group-by', 'app', '--out', model, '--json', ...)
  end

  it('are learned from the history and the alert that fired', function()
    local status, out, err = train()
    assert.equal(0, status, err)
    local d = json.decode(out)
    assert.same({ 'cpu_usage', 'error_rate', 'memory_usage', 'thread_count' }, d.features)
    assert.is_true(d.rows > 4000 and d.failures > 100 and d.excluded_during_alert > 50)
    assert.is_true(d.evaluation.auc > 0.65 and d.evaluation.log_loss < d.evaluation.prior_log_loss,
      out)
    assert.is_number(d.evaluation.levels[1].alarms_per_week)
    assert.equal('ALERTS Down', d.label)
  end)

  it('are predicted for each group of series now, with what makes them likely', function()
    local status, out, err = w:cli('predict', '--url', url, '--features', features, '--group-by',
      'app', '--model', model, '--json')
    assert.equal(0, status, err)
    local rows = json.decode(out).rows
    assert.equal(2, #rows)
    assert.same({ { app = 'cart' }, { app = 'shop' } }, { rows[1].labels, rows[2].labels })
    assert.is_true(rows[1].failure_probability > 3 * rows[2].failure_probability)
    assert.same({}, rows[1].missing)
    local top = rows[1].top_contributing_factors[1]
    assert.is_true(top.feature == 'memory_usage' or top.feature == 'error_rate')
    assert.is_true(top.contribution > 0)
  end)

  it('are watched by a declaration, which fires and tells what is missing', function()
    local p = w:perigee { name = 'watch', source = url, rules = { ['p.lua'] = ([[
prediction "down" { features = { cpu_usage = "f_cpu", memory_usage = "f_mem", error_rate = "f_err",
    thread_count = "sum(f_threads)" },
  model = "%s", every = "1s", group_by = { "app" },
  levels = { critical = 0.9, high = 0.15, medium = 0.05 } }
incident "about_to_fail" { signals = { "down" }, min_signals = 1, group_by = { "app" } }
]]):format(model) } }
    local function of(name)
      local list = p:get '/api/v1/predictions'
      for _, s in ipairs(list[1].predictions) do
        if s.labels.app == name then return s end
      end
    end
    w:wait_for('the prediction to fire', 20, function()
      local cart = of 'cart'
      return cart and cart.state == 'firing'
    end)
    assert.equal('inactive', of('shop').state)
    assert.equal('low', of('shop').risk_level)
    w:wait_for('the incident', 10, function() return #p:get '/api/v1/incidents' == 1 end)
    assert.same({ app = 'cart' }, p:get('/api/v1/incidents')[1].labels)
    assert.is_true(p:metric('perigee_prediction_probability{prediction="down",'
      .. 'series="app=\\"cart\\""}') > 0.15)
    values.cart.f_cpu = 'NaN'
    w:wait_for('a missing feature to be told', 15, function()
      return of('cart').missing[1] == 'cpu_usage'
    end)
    p:stop()
  end)

  it('cannot be learned where the alert never fired, or nobody answers', function()
    local status, out, err = w:cli('train', '--url', url, '--features', features, '--alert',
      'Never', '--out', model)
    assert.same({ 1, '' }, { status, out })
    assert.matches('no alert "Never" that has fired', err)
    status, out, err = w:cli('train', '--url', 'http://127.0.0.1:1', '--features', features,
      '--alert', 'Down', '--out', model)
    assert.same({ 3, '' }, { status, out })
    assert.matches('feature cpu_usage: ', err)
    local bad = w:write('bad.yaml', 'a: "f_cpu +"\n')
    status, out, err = w:cli('train', '--url', url, '--features', bad, '--alert', 'Down', '--out',
      model)
    assert.same({ 2, '' }, { status, out })
    assert.matches('parse error', err)
  end)
end)
