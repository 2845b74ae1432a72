--- What comes from the source, right and wrong: each case has a clear state, and leads to no action
--- unless the data says so.
local async = require 'async'
local fake = require 'fakes.prometheus'
local process = require 'perigee.process'
local prometheus = require 'prometheus'
local raw = require 'fakes.raw'
local testing = require 'testing.world'
local tls = require 'fakes.tls'
local world = require 'e2e.world'

--- Thirty days of one series, a sample a minute, as OpenMetrics text.
local DAYS <const> = 30
local function history(now)
  local out, n = { '# TYPE past gauge' }, DAYS * 1440
  for i = 0, n do
    out[#out + 1] = ('past{app="shop"} %d %d'):format(100 + i % 7, now - (n - i) * 60)
  end
  out[#out + 1] = '# EOF\n'
  return table.concat(out, '\n')
end

--- The series of a signal whose label `app` is that, as the API shows it.
local function series(p, signal, name)
  for _, s in ipairs(p:signal(signal).series) do
    if s.labels.app == name then return s end
  end
end

--- An incident and a playbook at auto that calls a hook: none of what is wrong may lead there.
local RULES = [[
signal "x" { query = "x", every = "1s", detector = threshold { above = 5 } }
incident "odd" { signals = { "x" }, min_signals = 1 }
playbook "act" { when = incident "odd", trust = "auto", plan = {
  http.request { method = "POST", url = "%s" } } }
]]
local CONFIG = [[
guardrails: { dry_run: false, http: [ { url_prefix: "%s" } ] }
]]

describe('a real Prometheus', function()
  local w, server, target, values, url, child
  setup(function()
    w, values = world.new(), { a = 1, b = 1 }
    target, server = w:gauge(values)
    url, child = w:prometheus { targets = { target }, history = history(os.time() // 60 * 60) }
  end)
  teardown(function()
    w:close()
  end)

  it('gives series, which go from inactive to pending, firing and resolved each for itself',
    function()
      local p = w:perigee { name = 'states', source = url, rules = { ['load.lua'] = [[
signal "load" { query = "load", every = "1s", hold_for = "2s", labels = { severity = "page" },
  detector = threshold { above = 5 },
  annotations = { summary = "{{ $labels.app }}: {{ $value }}" } }]] } }
      w:wait_for('two series', 10, function() return #p:signal('load').series == 2 end)
      assert.same({ app = 'a', instance = target, job = 'shop', severity = 'page' },
        series(p, 'load', 'a').labels)
      values.b = 9
      local seen = {}
      w:wait_for('b to fire', 15, function()
        local s = series(p, 'load', 'b')
        seen[s.state] = s
        return seen.firing
      end)
      assert.equal('b: 9', seen.firing.annotations.summary)
      assert.truthy(seen.pending)
      assert.equal('inactive', series(p, 'load', 'a').state)
      values.b = 1
      w:wait_for('the end of it', 15, function() return series(p, 'load', 'b').resolved_at end)
      p:stop()
    end)

  it('is asked for a long history in pieces, each point once', function()
    local stop = os.time() // 60 * 60 - 3600
    local start = stop - (DAYS - 1) * 86400
    local found = assert(prometheus.client { url = url }:query_range('past', start, stop, 60))
    assert.equal(1, #found)
    assert.equal((DAYS - 1) * 1440 + 1, #found[1].ds)
    for i, t in ipairs(found[1].ds) do
      if t ~= start + (i - 1) * 60 then error('a point is missing or doubled') end
    end
  end)

  it('is learned from', function()
    local p = w:perigee { name = 'learns', source = url, rules = { ['past.lua'] = [[
signal "past" { query = "last_over_time(past[1h])", every = "1s",
  detector = robust_z_score { history = "29d", step = "1m" } }
signal "new" { query = "load offset 1d", every = "1s", detector = z_score { history = "7d" } }
signal "short" { query = "load", every = "1s", detector = z_score { history = "7d" } }]] } }
    w:wait_for('a baseline', 20, function()
      local s = series(p, 'past', 'shop')
      return s and s.condition == 'ok' and s.reason:find('the usual 103', 1, true)
    end)
    w:wait_for('no data and no baseline', 20, function()
      local s = series(p, 'short', 'a')
      return p:signal('new').condition == 'no_data' and s and s.condition == 'no_baseline'
    end)
    local s = series(p, 'short', 'a')
    assert.equal('no baseline', s.reason:sub(1, 11))
    assert.is_false(s.is_anomaly)
    assert.is_nil(s.anomaly_score)
    assert.is_nil(s.confidence)
    p:stop()
  end)

  it('that refuses a query says why in the signal', function()
    local p = w:perigee { name = 'refused', source = url, rules = { ['bad.lua'] = [[
signal "bad" { query = "load +", every = "1s", detector = threshold { above = 5 } }]] } }
    w:wait_for('an error', 10, function() return p:signal('bad').condition == 'error' end)
    assert.truthy(p:signal('bad').error:find('parse error', 1, true), p:signal('bad').error)
    assert.equal('unknown', p:signal('bad').state)
    p:stop()
  end)

  it('that goes away is missed, and is asked again once it is back', function()
    local p = w:perigee { name = 'back', source = url, rules = { ['load.lua'] = [[
signal "load" { query = "count(load)", every = "1s", detector = threshold { above = 1 } }]] } }
    local function wait(wanted)
      w:wait_for(wanted, 15, function() return p:signal('load').condition == wanted end)
    end
    wait 'ok'
    local fired = w:wait_for('it to fire', 10, function()
      return p:signal('load').series[1].fired_at
    end)
    w:stop(child)
    wait 'error'
    assert.equal('firing', p:signal('load').state)
    w:prometheus { port = tonumber(url:match '%d+$'), targets = { target } }
    wait 'ok'
    assert.equal(fired, p:signal('load').series[1].fired_at)
    p:stop()
  end)

  it('shows by its `up` that a target is gone', function()
    local p = w:perigee { name = 'up', source = url, rules = { ['up.lua'] = [[
signal "up" { query = 'up{job="shop"}', every = "1s", detector = threshold { below = 1 } }]] } }
    w:wait_for('up', 10, function()
      local s = p:signal 'up'
      return s.condition == 'ok' and s.state == 'inactive'
    end)
    server:close()
    w:wait_for('the target to be missed', 15, function()
      return p:signal('up').state == 'firing'
    end)
    p:stop()
  end)
end)

-- What a perigee of one rule may hold: a sanitizer's shadow counts too.
local RESIDENT <const> = os.getenv 'ASAN_OPTIONS' and 400e6 or 60e6

describe('a source that is not as it should be', function()
  local w, source, hook
  before_each(function()
    w, source = world.new(), fake.serve()
    hook = w:target()
  end)
  after_each(function()
    w:close()
    source.close()
  end)

  local function perigee(config)
    return w:perigee { source = source.url, config = (config or '') .. CONFIG:format(hook.url),
      rules = { ['x.lua'] = RULES:format(hook.url) } }
  end
  local function condition(p, wanted)
    return w:wait_for(wanted, 15, function()
      local s = p:signal 'x'
      return s.condition == wanted and s
    end)
  end
  local HTML = { headers = { ['Content-Type'] = 'text/html' }, body = '<html>sorry</html>' }
  local BAD = {
    { response = HTML, says = 'text/html instead of JSON: is this a Prometheus API?' },
    { response = { status = 502, headers = HTML.headers, body = HTML.body },
      says = 'answered 502, and text/html' },
    { response = fake.json({ status = 'error', errorType = 'timeout', error = 'query timed out' },
      503), says = 'query timed out' },
    { response = { headers = { ['Content-Type'] = 'application/json' },
      body = '{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"va' },
      says = 'invalid JSON' },
    { response = { status = 302, headers = { Location = 'http://127.0.0.1:1/' } },
      says = 'is elsewhere' },
    { response = { status = 204 }, says = 'answered 204' },
  }

  it('says so, in words of its own for each way, and acts upon none', function()
    local answer = BAD[1]
    source.answer = function() return answer.response end
    local p = perigee()
    for _, case in ipairs(BAD) do
      answer = case
      w:wait_for(case.says, 15, function()
        local s = p:signal 'x'
        return s.condition == 'error' and s.error:find(case.says, 1, true)
      end)
      assert.equal('unknown', p:signal('x').state)
    end
    source.answer, source.values.x = nil, 1
    condition(p, 'ok')
    assert.same({}, p:get '/api/v1/plans')
    assert.same({}, hook.requests)
  end)

  it('gives a million series, which are not even read', function()
    local item, parts = '{"metric":{"pod":"%d"},"value":[1,"9"]}', {}
    for i = 1, 1000000 do parts[i] = item:format(i) end
    local body = '{"status":"success","data":{"resultType":"vector","result":['
      .. table.concat(parts, ',') .. ']}}'
    source.answer = function()
      return { headers = { ['Content-Type'] = 'application/json' }, body = body }
    end
    local p = perigee()
    local s = condition(p, 'error')
    assert.truthy(s.error:find('limits.max_series', 1, true), s.error)
    source.answer, source.values.x = nil, 1
    condition(p, 'ok')
    assert.same({}, hook.requests)
    assert.is_true(p:metric 'process_resident_memory_bytes' < RESIDENT)
  end)

  it('gives somewhat more series than are allowed', function()
    source.values.x = {}
    for i = 1, 11 do source.values.x[i] = { labels = { pod = 'p' .. i }, value = 9 } end
    local p = perigee 'limits: { max_series: 10 }\n'
    assert.truthy(condition(p, 'error').error:find('11 series; at most 10', 1, true))
    table.remove(source.values.x)
    condition(p, 'ok')
    w:wait_for('an action, now that the data is good', 10, function() return #hook.requests > 0 end)
  end)

  it('knows that its answer is partial: what fires by it leads to no action', function()
    source.answer = function()
      return fake.json { status = 'success', warnings = { 'store gateway 2 is down' },
        data = { resultType = 'vector', result = { { metric = {}, value = { 1, '9' } } } } }
    end
    local p = perigee()
    local plan = w:wait_for('a plan that is blocked', 15, function()
      return p:get('/api/v1/plans')[1]
    end)
    assert.equal('blocked', plan.state)
    assert.equal('the incident rests on partial data', plan.reason)
    assert.truthy(p:signal('x').error:find('store gateway 2 is down', 1, true))
    assert.is_true(p:signal('x').series[1].partial)
    assert.same({}, hook.requests)
    source.answer, source.values.x = nil, 9
    w:wait_for('the action, once the answer is whole', 10, function() return #hook.requests > 0 end)
  end)

  it('gives NaN, or nothing any more: neither is odd, and neither is good', function()
    source.values.x = 0 / 0
    local p = perigee()
    w:wait_for('NaN', 10, function()
      local s = p:signal('x').series[1]
      return s and s.condition == 'nan' and s.state == 'inactive'
    end)
    source.values.x = nil
    condition(p, 'no_data')
    assert.same({}, hook.requests)
  end)

  it('is too slow', function()
    source.answer = function()
      async.sleep(3)
      return fake.json { status = 'success', data = { resultType = 'vector', result = {} } }
    end
    local p = w:configure { source = source.url,
      rules = { ['x.lua'] = RULES:format 'http://127.0.0.1:1/' } }
    p.common = p.common:gsub('timeout: 5s', 'timeout: 1s')
    p:set_config ''
    p:start()
    assert.truthy(condition(p, 'error').error:find 'timeout')
    source.answer, source.values.x = nil, 1
    condition(p, 'ok')
  end)

  it('gives half an answer and hangs up', function()
    local half = raw.serve('HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n'
      .. 'Content-Length: 500\r\n\r\n{"status":"success","data":{"resultType":"vector","result":[')
    local p = w:perigee { source = half.url,
      rules = { ['x.lua'] = RULES:format 'http://127.0.0.1:1/' } }
    local s = condition(p, 'error')
    half:close()
    assert.equal('unknown', s.state)
    assert.equal('err', s.health)
  end)

  it('is not there at the start, comes, goes and comes back', function()
    local port = source.port
    source.close()
    local p = perigee()
    local s = condition(p, 'error')
    assert.truthy(s.error:find '%(connection%)$', s.error)
    assert.equal(200, p:request('GET', '/-/ready').status)
    source = fake.serve(port)
    source.values.x = 9
    w:wait_for('the action', 15, function() return #hook.requests == 1 end)
    source.close()
    condition(p, 'error')
    assert.equal('firing', p:signal('x').state) -- as it was: no answer is no news
    source = fake.serve(port)
    source.values.x = 1
    condition(p, 'ok')
    w:wait_for('the end of it', 10, function()
      return p:get('/api/v1/incidents')[1].state == 'resolved'
    end)
    assert.equal(1, #hook.requests)
  end)
end)

describe('the way to the source', function()
  local w
  before_each(function() w = world.new() end)
  after_each(function() w:close() end)

  --- Perigee with options of its own for the source.
  local function perigee(options)
    local p = w:configure { rules = { ['x.lua'] = [[
signal "x" { query = "vector(1)", every = "1s", detector = threshold { above = 5 } }]] } }
    p.common = p.common:gsub('source: [^\n]+', function()
      return ('source: { prometheus: { %s } }'):format(options)
    end)
    p:set_config ''
    return p
  end
  local function condition(p, wanted)
    return w:wait_for(wanted, 15, function()
      local s = p:signal 'x'
      return s.condition == wanted and s
    end)
  end

  it('takes a bearer token, read anew from its file, and headers', function()
    local source, token = fake.serve(), 'token-of-the-source'
    source.values['vector(1)'] = 1
    source.answer = function(request)
      if request.headers.authorization == 'Bearer ' .. token
        and request.headers['x-scope-orgid'] == 'shop' then return end
      return { status = 401, body = 'who are you?' }
    end
    local file = w:write('bearer', 'an-old-token\n')
    local p = perigee(('url: "%s", bearer_token_file: %s, headers: { X-Scope-OrgID: shop }')
      :format(source.url, file))
    p:start()
    local s = condition(p, 'error')
    assert.truthy(s.error:find 'unauthorized', s.error)
    w:write('bearer', token .. '\n')
    condition(p, 'ok')
    source.close()
  end)

  it('may be TLS, with a certificate that is checked', function()
    local pair, port = tls.certificate(), testing.free_port()
    w:write('web.yml', ('tls_server_config: { cert_file: %s, key_file: %s }\n'):format(pair.cert,
      pair.key))
    w:write('prometheus.yml', 'global: { scrape_interval: 1s }\n')
    w:start('prometheus', { 'prometheus', '--config.file=' .. w:path 'prometheus.yml',
      '--web.config.file=' .. w:path 'web.yml', '--storage.tsdb.path=' .. w:path 'data',
      ('--web.listen-address=127.0.0.1:%d'):format(port) })
    local url = ('url: "https://127.0.0.1:%d"'):format(port)
    local p = perigee(('%s, tls: { ca_file: %s, server_name: tls.test }'):format(url, pair.cert))
    p:start()
    condition(p, 'ok')
    p:stop()
    p = perigee(('%s, tls: { server_name: tls.test }'):format(url))
    p:start()
    assert.truthy(condition(p, 'error').error:find '%(tls%)$')
    p:stop()
    p = perigee(('%s, tls: { ca_file: %s, server_name: other.test }'):format(url, pair.cert))
    p:start()
    assert.truthy(condition(p, 'error').error:find '%(tls%)$')
    p:stop()
    p = perigee(url .. ', tls: { insecure_skip_verify: true }')
    p:start()
    condition(p, 'ok')
    assert.truthy(p:log():find('the certificate of the source is not verified', 1, true))
    assert(process.start { 'rm', '-rf', pair.folder }):wait()
  end)
end)
