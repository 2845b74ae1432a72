local async = require 'async'
local file = require 'perigee.file'
local http = require 'http'
local json = require 'json'
local log = require 'log'
local prometheus = require 'prometheus'
local raw = require 'fakes.raw'

-- How long is waited between two attempts http_spec tells; here it is not at all.
local random = math.random
setup(function() rawset(math, 'random', function() return 0 end) end)
teardown(function() rawset(math, 'random', random) end)

local JSON = { ['Content-Type'] = 'application/json' }

--- A Prometheus that gives the answers in turn, the last for ever: a text or a table is what is in
--- `data`, a function makes the whole answer. Runs f with a client of it and what it was asked.
local function with_answers(answers, f, options)
  local asked = {}
  local server = assert(http.serve({}, function(request)
    local answer = answers[math.min(#asked + 1, #answers)]
    asked[#asked + 1] = { method = request.method, path = request.path, headers = request.headers,
      query = request.query, form = http.parse_form(request.body) }
    if type(answer) == 'function' then return answer(asked[#asked].form, #asked) end
    if type(answer) == 'string' then answer = ('{"status":"success","data":%s}'):format(answer) end
    if answer.body or answer.status then return answer end
    return { headers = JSON, body = json.encode(answer) }
  end))
  local o = { url = ('http://127.0.0.1:%d'):format(server:port()) }
  for k, v in pairs(options or {}) do o[k] = v end
  local ok, message = pcall(f, prometheus.client(o), asked, o.url)
  server:close()
  assert(ok, message)
end

local function with_answer(answer, f, options) with_answers({ answer }, f, options) end

local function success(data)
  return { headers = JSON, body = ('{"status":"success","data":%s}'):format(data) }
end

local function problem(status, kind, words)
  return { status = status, headers = JSON,
    body = json.encode { status = 'error', errorType = kind, error = words } }
end

local function failure(f, ...)
  local ok, message = pcall(f, ...)
  assert.is_false(ok)
  return message
end

--- The failure of a query that gets an answer.
local function failed(answer)
  local found
  with_answer(answer, function(c)
    local vector, why = c:query 'up'
    assert.is_nil(vector)
    found = why
    local series, same_why = c:query_range('up', 0, 60, 15)
    assert.is_nil(series)
    assert.equal(why.kind, same_why.kind)
  end)
  return found
end

local VECTOR = success [[{"resultType":"vector","result":[
  {"metric":{"__name__":"up","job":"a"},"value":[1767225600.123,"1"]},
  {"metric":{},"value":[1767225600.123,"2.5e-3"]}]}]]

describe('prometheus.client', function()
  it('asks by a form, with the time in milliseconds and its own timeout', function()
    with_answer(VECTOR, function(c, asked)
      assert(c:query('up == 1 or "ü"', 1767225600.1234))
      assert.same({ query = 'up == 1 or "ü"', time = '1767225600.123', timeout = '1m30s' },
        asked[1].form)
      assert.equal('POST', asked[1].method)
      assert.equal('/api/v1/query', asked[1].path)
      assert.equal('application/x-www-form-urlencoded', asked[1].headers['content-type'])
      assert(c:query 'up')
      assert.is_nil(asked[2].form.time)
    end, { timeout = '1m30s' })
  end)

  it('keeps a path before the API\'s, and sends the headers it is given', function()
    local asked_path
    local server = assert(http.serve({}, function(request)
      asked_path = request.path
      assert.equal('tenant', request.headers['x-scope-orgid'])
      return VECTOR
    end))
    local c = prometheus.client { url = ('http://127.0.0.1:%d/prometheus//'):format(server:port()),
      headers = { ['X-Scope-OrgID'] = 'tenant' } }
    local vector, why = c:query 'up'
    server:close()
    assert(vector, why)
    assert.equal('/prometheus/api/v1/query', asked_path)
  end)

  it('reads the token anew for every request', function()
    local path = assert(file.temporary_folder 'perigee-prometheus') .. '/token'
    with_answer(VECTOR, function(c, asked)
      assert(file.write(path, 'the-first-token\n'))
      assert(c:query 'up')
      assert(file.write(path, 'the-second-token\n'))
      assert(c:query 'up')
      assert.equal('Bearer the-first-token', asked[1].headers.authorization)
      assert.equal('Bearer the-second-token', asked[2].headers.authorization)
      for text, words in pairs { [''] = 'is empty$', ['a\nb'] = 'holds more than one line$' } do
        assert(file.write(path, text))
        local vector, why = c:query 'up'
        assert.is_nil(vector)
        assert.equal('unavailable', why.kind)
        assert.matches(words, why.message)
      end
      os.remove(path)
      assert.matches('^cannot read .*/token: No such file', select(2, c:query 'up').message)
      assert.equal(2, #asked)
    end, { bearer_token_file = path })
    os.remove(path:match '^(.*)/')
  end)

  it('refuses options that are wrong, at the line that called', function()
    local function words(options)
      local message = failure(function() local c = prometheus.client(options) return c end)
      return message:match '^tests/lua/prometheus_spec.lua:%d+: prometheus.client: (.*)$'
    end
    assert.equal('option "url" is missing', words {})
    assert.equal('url: expected a URL such as "http://127.0.0.1:9090", not "127.0.0.1:9090"',
      words { url = '127.0.0.1:9090' })
    assert.equal('url: a password does not belong into a URL; use a file',
      words { url = 'http://me:secret@prometheus' })
    assert.equal('url: expected an address without a query',
      words { url = 'http://prometheus/graph?g0.expr=up' })
    assert.equal('timeout: expected at least 100ms, not "0"',
      words { url = 'http://a', timeout = '0' })
    assert.equal('unknown option "token"; known are bearer_token_file, headers, timeout, tls, url',
      words { url = 'http://a', token = 'x' })
    assert.equal('tls.ca_file: expected a text, not true',
      words { url = 'http://a', tls = { ca_file = true } })
    assert.equal('headers.X-A: expected a text of one line, not "a b"',
      words { url = 'http://a', headers = { ['X-A'] = 'a\nb' } })
  end)

  it('says in the log that it does not verify a certificate', function()
    log.capture(true)
    prometheus.client { url = 'https://a/', tls = { insecure_skip_verify = true } }
    prometheus.client { url = 'https://b/', tls = {} }
    local lines = log.capture(false)
    assert.matches('certificate of the source is not verified" url=https://a\n', lines)
    assert.is_nil(lines:find('https://b', 1, true))
  end)
end)

describe('prometheus client:query', function()
  it('gives a vector: labels, value and time of each sample', function()
    with_answer(VECTOR, function(c)
      local vector = assert(c:query 'up')
      assert.equal('vector', vector.type)
      assert.is_nil(vector.partial)
      assert.same({ { labels = { __name__ = 'up', job = 'a' }, value = 1, time = 1767225600.123 },
        { labels = {}, value = 0.0025, time = 1767225600.123 } }, { table.unpack(vector) })
    end)
  end)

  it('gives an empty vector for no data: that is not zero', function()
    with_answer(success '{"resultType":"vector","result":[]}', function(c)
      local vector = assert(c:query 'up')
      assert.same({ type = 'vector' }, vector)
    end)
  end)

  it('gives a scalar as one sample, a matrix as series', function()
    with_answers({ success '{"resultType":"scalar","result":[5,"7"]}',
      success [=[{"resultType":"matrix","result":[
        {"metric":{"a":"b"},"values":[[1,"2"],[3,"NaN"]]},
        {"metric":{"h":"i"},"histograms":[[1,{"count":"1"}]]}]}]=] },
      function(c)
        assert.same({ type = 'scalar', { labels = {}, value = 7, time = 5 } }, c:query '7')
        local matrix = assert(c:query 'up[5m]')
        assert.equal('matrix', matrix.type)
        assert.same({ { a = 'b' }, { 1, 3 } }, { matrix[1].labels, matrix[1].ds })
        assert.equal(2, matrix[1].y[1])
        assert.is_true(matrix[1].y[2] ~= matrix[1].y[2])
        assert.same({ labels = { h = 'i' }, ds = {}, y = {} }, matrix[2])
      end)
  end)

  it('tells NaN and the infinities from numbers', function()
    with_answer(success [[{"resultType":"vector","result":[
      {"metric":{"a":"1"},"value":[0,"NaN"]},{"metric":{"a":"2"},"value":[0,"+Inf"]},
      {"metric":{"a":"3"},"value":[0,"-Inf"]},{"metric":{"a":"4"},"value":[0,"1e+300"]},
      {"metric":{"a":"5"},"value":[0,"-0"]},{"metric":{"a":"6"},"value":[0,7]}]}]], function(c)
      local v = assert(c:query 'x')
      assert.is_true(v[1].value ~= v[1].value)
      assert.same({ math.huge, -math.huge, 1e300, 0, 7 },
        { v[2].value, v[3].value, v[4].value, v[5].value, v[6].value })
    end)
  end)

  it('has NaN for a native histogram, at its time', function()
    with_answer(success [=[{"resultType":"vector","result":[{"metric":{"a":"b"},"histogram":
      [1767225600.5,{"count":"10","sum":"3","buckets":[[0,"0","1","10"]]}]}]}]=], function(c)
      local sample = assert(c:query 'h')[1]
      assert.is_true(sample.value ~= sample.value)
      assert.equal(1767225600.5, sample.time)
      assert.same({ a = 'b' }, sample.labels)
    end)
  end)

  it('takes warnings and isPartial for a part of the answer only', function()
    for body, wanted in pairs {
      ['{"status":"success","warnings":["a store is down","b"],"data":%s}'] =
        { partial = true, warnings = { 'a store is down', 'b' } },
      ['{"status":"success","isPartial":true,"data":%s}'] = { partial = true },
      ['{"status":"success","isPartial":false,"data":%s}'] = {},
      ['{"status":"success","infos":["metric might not be a counter"],"data":%s}'] = {},
      ['{"status":"success","warnings":[],"data":%s}'] = {},
      ['{"status":"success","warnings":null,"isPartial":"yes","data":%s}'] = {},
    } do
      local data = '{"resultType":"vector","result":[]}'
      with_answer({ headers = JSON, body = body:format(data) }, function(c)
        local vector = assert(c:query 'up')
        assert.same(wanted.warnings, vector.warnings)
        assert.equal(wanted.partial, vector.partial)
      end)
    end
    with_answer(success '{"resultType":"vector","result":[],"isPartial":true}', function(c)
      assert.is_true(assert(c:query 'up').partial)
    end)
  end)

  it('has no numbers in a string', function()
    with_answer(success '{"resultType":"string","result":[0,"text"]}', function(c)
      local vector, why = c:query '"text"'
      assert.is_nil(vector)
      assert.equal('bad_data', why.kind)
      assert.equal('the query gives a string, no numbers', tostring(why))
    end)
  end)

  it('takes only a text and a time, and blames the line that called', function()
    with_answer(VECTOR, function(c)
      local message = failure(function() local v = c:query() return v end)
      assert.matches('^tests/lua/prometheus_spec.lua:%d+: query: expected an expression$', message)
      message = failure(function() local v = c:query('up', '5m') return v end)
      assert.matches('^tests/lua/prometheus_spec.lua:%d+: query: expected a time in Unix seconds, '
        .. 'not "5m"$', message)
      assert.matches('expected a time', failure(c.query, c, 'up', 0 / 0))
      assert.matches('expected a time', failure(c.query, c, 'up', math.huge))
    end)
  end)
end)

describe('prometheus: an answer that is a failure', function()
  it('keeps what the API says of it', function()
    for kind, status in pairs { bad_data = 400, execution = 422, timeout = 503, canceled = 499,
      internal = 500, unavailable = 503, not_found = 404, not_acceptable = 406 } do
      local why = failed(problem(status, kind, 'the words of ' .. kind))
      assert.equal(kind, why.kind)
      assert.equal('the words of ' .. kind, why.message)
      assert.equal('the words of ' .. kind, tostring(why))
    end
  end)

  it('makes the most of an error without a type or without words', function()
    for status, kind in pairs { [400] = 'bad_data', [422] = 'execution', [503] = 'unavailable',
      [500] = 'internal', [404] = 'internal' } do
      local why = failed { status = status, headers = JSON, body = '{"status":"error"}' }
      assert.equal(kind, why.kind)
      assert.equal('status ' .. status, why.message)
    end
    local why = failed { status = 400, headers = JSON,
      body = '{"status":"error","errorType":{},"error":[1]}' }
    assert.same({ 'bad_data', 'status 400' }, { why.kind, why.message })
  end)

  it('knows HTML for what it is, with status 200 as with 502', function()
    local page = { headers = { ['Content-Type'] = 'text/html; charset=utf-8' },
      body = '<html>Sign in</html>' }
    local why = failed(page)
    assert.equal('not_prometheus', why.kind)
    assert.matches('^http://127.0.0.1:%d+/api/v1/query answered 200, and text/html; charset=utf%-8 '
      .. 'instead of JSON: is this a Prometheus API%?$', why.message)
    page.status = 502
    why = failed(page)
    assert.equal('unavailable', why.kind)
    assert.matches('answered 502, and text/html; charset=utf%-8 instead of JSON$', why.message)
    page.status = 429
    assert.equal('unavailable', failed(page).kind)
  end)

  it('asks whether it is a Prometheus where nothing says so', function()
    for _, answer in ipairs { { status = 404, headers = { ['Content-Type'] = 'text/plain' },
      body = '404 page not found' }, { body = 'x' }, { headers = { ['Content-Type'] = 'text/json' },
      body = '[1,2]' }, { headers = JSON, body = '7' }, { headers = JSON, body = 'null' },
      { status = 404, headers = JSON, body = '{"message":"no such route"}' },
      { headers = JSON, body = '{"status":"Failure","kind":"Status"}' },
      { headers = JSON, body = '{"status":"success"' }, { headers = JSON, body = '' },
      { headers = JSON, body = '{"status":"success"}' }, success '7', success '[]',
      success '{"resultType":"matrix"}', success '{"resultType":"matrix","result":"x"}' } do
      local found
      with_answer(answer, function(c)
        local vector, why = c:query 'up'
        assert.is_nil(vector)
        found = why
      end)
      assert.equal('not_prometheus', found.kind, answer.body)
    end
    assert.matches('answered 404, and JSON that is no Prometheus API\'s$',
      failed({ status = 404, headers = JSON, body = '{"message":"x"}' }).message)
    assert.matches('query: invalid JSON at line 1', failed({ headers = JSON, body = '{' }).message)
    assert.matches('query: the answer is JSON, but no object$',
      failed({ headers = JSON, body = 'null' }).message)
    assert.matches('answered 200, and no content type instead of JSON',
      failed({ body = 'x' }).message)
  end)

  it('says that credentials are wanted', function()
    for _, status in ipairs { 401, 403 } do
      for _, headers in ipairs { JSON, { ['Content-Type'] = 'text/plain' } } do
        local why = failed { status = status, headers = headers, body = '"Unauthorized"' }
        assert.equal('unauthorized', why.kind)
        assert.matches('answered ' .. status .. ': it wants other credentials$', why.message)
      end
    end
  end)

  it('says where the API has moved: a form is not sent on', function()
    local why = failed { status = 301, headers = { Location = 'https://elsewhere/api/v1/query' },
      body = '' }
    assert.equal('not_prometheus', why.kind)
    assert.matches('is elsewhere: https://elsewhere/api/v1/query$', why.message)
    assert.matches('it does not say where$', failed({ status = 302, body = '' }).message)
  end)

  it('refuses items of an answer that are not as Prometheus writes them', function()
    local vectors = { '1', 'null', '"x"', '[]', '{"metric":{}}', '{"metric":{},"value":[1]}',
      '{"metric":{},"value":["1","2"]}', '{"metric":{},"value":[1,"x"]}',
      '{"metric":{},"value":[1,null]}', '{"metric":{},"value":[1,{}]}', '{"metric":{},"value":7}',
      '{"metric":"up","value":[1,"2"]}', '{"metric":{"a":1},"value":[1,"2"]}',
      '{"metric":["a"],"value":[1,"2"]}', '{"metric":{},"histogram":7}' }
    for _, item in ipairs(vectors) do
      with_answer(success(('{"resultType":"vector","result":[{"metric":{},"value":[1,"2"]},%s]}')
        :format(item)), function(c)
        local vector, why = c:query 'up'
        assert.is_nil(vector, item)
        assert.equal('not_prometheus', why.kind)
        assert.equal('sample 2 of the answer is not as Prometheus writes it', why.message)
      end)
    end
    local matrices = { '1', 'null', '{"metric":{},"values":7}', '{"metric":{},"values":[7]}',
      '{"metric":{},"values":[[1,"2"],[3,"x"]]}', '{"metric":{"a":{}},"values":[]}' }
    for _, item in ipairs(matrices) do
      with_answer(success(('{"resultType":"matrix","result":[%s]}'):format(item)), function(c)
        for _, answer in ipairs { { c:query 'up[5m]' }, { c:query_range('up', 0, 1, 1) } } do
          assert.is_nil(answer[1], item)
          assert.equal('series 1 of the answer is not as Prometheus writes it', answer[2].message)
        end
      end)
    end
    with_answer(success '{"resultType":"scalar","result":[1]}', function(c)
      assert.matches('^value 1 of the answer', select(2, c:query '1').message)
    end)
    with_answer(success '{"result":[]}', function(c)
      assert.equal('the query gives a nil, no numbers', select(2, c:query '1').message)
    end)
  end)

  it('is too large', function()
    -- 64 MiB and a byte, which take 64 KiB on the way
    local gzip <close> = assert(io.popen('head -c 67108865 /dev/zero | gzip -nc'))
    local packed = gzip:read 'a'
    local server = raw.serve(('HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n'
      .. 'Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s'):format(#packed, packed))
    local vector, why = prometheus.client({ url = server.url }):query 'up'
    server:close()
    assert.is_nil(vector)
    assert.equal('too_large', why.kind)
    assert.matches('larger than the limit of 67108864 bytes$', why.message)
  end)

  it('is too large for the server: 413', function()
    local why = failed { status = 413, headers = { ['Content-Type'] = 'text/plain' }, body = '' }
    assert.equal('not_prometheus', why.kind)
    assert.matches('answered 413', why.message)
  end)

  it('is too slow', function()
    local released = async.event()
    with_answer(function() released:wait() return VECTOR end, function(c, asked)
      local vector, why = c:query 'up'
      released:set()
      assert.is_nil(vector)
      assert.equal('timeout', why.kind)
      assert.equal(1, #asked) -- what took too long is not asked for again at once
    end, { timeout = '100ms' })
  end)

  it('is none: nobody there, a connection reset, half an answer', function()
    local _, why = prometheus.client({ url = 'http://127.0.0.1:1' }):query 'up'
    assert.equal('connection', why.kind)
    for _, bytes in ipairs { '', 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n'
      .. 'Content-Length: 100\r\n\r\n{"status":"success","data":{"resultType":"vec' } do
      local server = raw.serve(bytes, bytes == '' and 'reset' or 'close')
      local vector
      log.setup('debug', false)
      log.capture(true)
      vector, why = prometheus.client({ url = server.url }):query 'up'
      local _, retries = log.capture(false):gsub('request is tried again', '')
      log.setup('info', false)
      server:close()
      assert.is_nil(vector)
      assert.equal('reset', why.kind)
      assert.equal(2, retries)
    end
    local server = raw.serve 'not HTTP at all\r\n'
    _, why = prometheus.client({ url = server.url }):query 'up'
    server:close()
    assert.equal('connection', why.kind)
  end)

  it('is bettered by another attempt only where that may help', function()
    local page = { ['Content-Type'] = 'text/html' }
    for _, answer in ipairs { { status = 502, headers = page, body = 'x' }, { status = 429 },
      { status = 503, headers = page, body = 'x' }, { status = 429, headers = JSON } } do
      answer.body = answer.body or ''
      with_answers({ answer, answer, VECTOR }, function(c, asked)
        assert.equal(2, #assert(c:query 'up'))
        assert.equal(3, #asked)
      end)
    end
    for _, answer in ipairs { problem(503, 'timeout', 'x'), problem(500, 'internal', 'x'),
      problem(400, 'bad_data', 'x'), problem(422, 'execution', 'x'), { status = 504, body = 'x' },
      { status = 408, body = 'x' }, { status = 404, body = 'x' } } do
      with_answers({ answer, VECTOR }, function(c, asked)
        assert.is_nil((c:query 'up'))
        assert.equal(1, #asked)
      end)
    end
  end)
end)

describe('prometheus client:query_range', function()
  --- Answers as a server would: a point on every step from start to end, of two series.
  local function points(form)
    local start, stop, step = tonumber(form.start), tonumber(form['end']), tonumber(form.step)
    local n = math.floor((stop - start) / step + 1e-9) + 1
    if n > 11000 then return problem(400, 'bad_data', 'exceeded maximum resolution') end
    local a, b = {}, {}
    for i = 1, n do
      local t = math.floor((start + (i - 1) * step) * 1000 + 0.5) / 1000
      a[i] = { t, tostring(i) }
      if t >= 5000 then b[#b + 1] = { t, 'NaN' } end
    end
    local result = { { metric = { a = 'a' }, values = a } }
    if #b > 0 then table.insert(result, 1, { metric = { a = 'b' }, values = b }) end
    return { headers = JSON, body = json.encode { status = 'success',
      data = { resultType = 'matrix', result = result } } }
  end

  it('gives series of times and values', function()
    with_answer(points, function(c, asked)
      local series = assert(c:query_range('up', 0, 60, 15))
      assert.equal(1, #series)
      assert.same({ labels = { a = 'a' }, ds = { 0, 15, 30, 45, 60 }, y = { 1, 2, 3, 4, 5 } },
        series[1])
      assert.same({ query = 'up', start = '0.000', ['end'] = '60.000', step = '15.000',
        timeout = '30s' }, asked[1].form)
      assert.equal('/api/v1/query_range', asked[1].path)
    end)
  end)

  it('asks for one point where start is stop', function()
    with_answer(points, function(c, asked)
      assert.same({ 60 }, assert(c:query_range('up', 60, 60, 15))[1].ds)
      assert.equal(1, #asked)
    end)
  end)

  it('asks for long ranges in pieces on one grid, each point once', function()
    for _, case in ipairs { { 0, 9999, 1, 1 }, { 0, 10000, 1, 2 }, { 0, 19999, 1, 2 },
      { 0, 20000, 1, 3 }, { 0, 20000.5, 1, 3 }, { 1767225600.25, 1767225600.25 + 2500, 0.1, 3 },
      { 7, 7 + 25000 / 3, 1 / 3, 3 } } do
      local start, stop, step, pieces = table.unpack(case)
      with_answer(points, function(c, asked)
        local series = assert(c:query_range('up', start, stop, step))
        assert.equal(pieces, #asked)
        for _, s in ipairs(series) do
          if s.labels.a == 'a' then
            local grid = tonumber(('%.3f'):format(step))
            assert.equal(math.floor((stop - start) / grid + 1e-6) + 1, #s.ds)
            for i = 2, #s.ds do
              assert.is_true(math.abs(s.ds[i] - s.ds[i - 1] - grid) < 1e-6, i)
            end
          end
        end
      end)
    end
  end)

  it('asks for shorter pieces where many series are expected', function()
    with_answer(points, function(c, asked)
      local series = assert(c:query_range('up', 0, 4031, 1, 100))
      assert.equal(4032, #series[1].ds)
      assert.equal('199.000', asked[1].form['end'])
      assert.equal('200.000', asked[2].form.start)
      assert.equal(21, #asked)
    end)
  end)

  it('asks for fewer points where an answer is too large', function()
    local function too_large() return { headers = JSON, body = (' '):rep((64 << 20) + 1) } end
    with_answers({ too_large, points, points, points, points, points }, function(c, asked)
      local series = assert(c:query_range('up', 0, 99, 1))
      assert.equal(100, #series[1].ds)
      local ends = {}
      for i, request in ipairs(asked) do ends[i] = request.form['end'] end
      assert.same({ '99.000', '24.000', '49.000', '74.000', '99.000' }, ends)
    end)
    with_answer(too_large, function(c)
      local series, why = c:query_range('up', 60, 60, 15)
      assert.is_nil(series)
      assert.equal('too_large', why.kind)
    end)
  end)

  it('has a series where it begins, in whatever order the pieces come', function()
    with_answer(points, function(c)
      local series = assert(c:query_range('up', 0, 20000, 1))
      assert.same({ 'b', 'a' }, { series[1].labels.a, series[2].labels.a })
      assert.equal(20001, #series[2].ds)
      assert.equal(20001 - 5000, #series[1].ds)
      assert.is_true(series[1].y[1] ~= series[1].y[1])
    end)
  end)

  it('leaves missing points missing', function()
    with_answer(success [=[{"resultType":"matrix","result":[
      {"metric":{},"values":[[0,"1"],[30,"2"]]},{"metric":{"a":"empty"}}]}]=], function(c)
      local series = assert(c:query_range('up', 0, 30, 15))
      assert.same({ 0, 30 }, series[1].ds)
      assert.same({}, series[2].ds)
    end)
  end)

  it('is partial as a whole where a piece is', function()
    with_answers({ points, function(form)
      local answer = points(form)
      answer.body = answer.body:gsub('"status"', '"warnings":["one store is down"],"status"')
      return answer
    end, points }, function(c)
      local series = assert(c:query_range('up', 0, 20000, 1))
      assert.is_true(series.partial)
      assert.same({ 'one store is down' }, series.warnings)
    end)
  end)

  it('fails as a whole where a piece does', function()
    with_answers({ points, problem(422, 'execution', 'too many samples') }, function(c)
      local series, why = c:query_range('up', 0, 20000, 1)
      assert.is_nil(series)
      assert.equal('execution', why.kind)
    end)
  end)

  it('takes nothing but a matrix', function()
    for _, data in ipairs { '{"resultType":"vector","result":[]}', '7',
      '{"resultType":"matrix"}' } do
      with_answer(success(data), function(c)
        local series, why = c:query_range('up', 0, 1, 1)
        assert.is_nil(series)
        assert.equal('a range query must give a matrix', why.message)
      end)
    end
  end)

  it('takes only numbers that make a range, and blames the line that called', function()
    with_answer(points, function(c, asked)
      local function words(...)
        local args = table.pack(...)
        local message = failure(function()
          local s = c:query_range(table.unpack(args, 1, args.n))
          return s
        end)
        return message:match '^tests/lua/prometheus_spec.lua:%d+: query_range: (.*)$'
      end
      assert.equal('expected an expression, not 5', words(5, 0, 1, 1))
      local numbers = 'start, stop and step are numbers, in seconds'
      assert.equal(numbers, words('up', 0, 1, '5m'))
      assert.equal(numbers, words('up', 0, 1))
      assert.equal(numbers, words('up', 0 / 0, 1, 1))
      assert.equal(numbers, words('up', 0, math.huge, 1))
      assert.equal(numbers, words('up', -math.huge, 0, 1))
      local range = 'step must be at least 0.001 and stop not before start'
      assert.equal(range, words('up', 0, 1, 0))
      assert.equal(range, words('up', 0, 1, -1))
      assert.equal(range, words('up', 0, 1, 0.0001))
      assert.equal(range, words('up', 1, 0, 1))
      assert.equal(0, #asked)
    end)
  end)
end)

describe('prometheus client:get', function()
  it('asks by GET, follows redirects, and gives the data', function()
    with_answers({ { status = 302, headers = { Location = '/elsewhere' } },
      success '["a","b"]' }, function(c, asked)
      assert.same({ 'a', 'b' }, c:get('label/job/values', { ['match[]'] = 'up' }))
      assert.same({ 'GET', '/api/v1/label/job/values', 'match%5B%5D=up' },
        { asked[1].method, asked[1].path, asked[1].query })
      assert.same({ 'GET', '/elsewhere' }, { asked[2].method, asked[2].path })
    end)
  end)

  it('needs no fields', function()
    with_answer(success '{"version":"2.42.0"}', function(c, asked)
      assert.equal('2.42.0', c:get('status/buildinfo').version)
      assert.equal('', asked[1].query)
    end)
  end)

  it('returns a failure like the others', function()
    with_answer(problem(404, 'not_found', 'no such label'), function(c)
      local data, why = c:get 'label/x/values'
      assert.is_nil(data)
      assert.equal('not_found', why.kind)
    end)
  end)
end)

describe('prometheus.number and number_text', function()
  it('are each other\'s way back', function()
    for _, text in ipairs { '+Inf', '-Inf', 'NaN', '1', '0.5', '1e+21', '-3.25' } do
      assert.equal(text, prometheus.number_text(prometheus.number(text)))
    end
    assert.equal(math.huge, prometheus.number 'Inf')
    assert.is_nil(prometheus.number 'x')
    assert.is_nil(prometheus.number '')
  end)
end)

describe('prometheus.label_key', function()
  it('is the same for the same labels, and for no others', function()
    assert.equal(prometheus.label_key { a = '1', b = '2' },
      prometheus.label_key { b = '2', a = '1' })
    local keys = {}
    for _, labels in ipairs { {}, { a = '' }, { a = '1' }, { b = '1' }, { a = '1', b = '' },
      { a = '1b' }, { a = '1', b = '2' }, { ab = '12' } } do
      local key = prometheus.label_key(labels)
      assert.is_nil(keys[key])
      keys[key] = true
    end
  end)
end)
