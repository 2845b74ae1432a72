local async = require 'async'
local clock = require 'perigee.clock'
local file = require 'perigee.file'
local http = require 'http'
local log = require 'log'
local raw = require 'fakes.raw'
local task = require 'perigee.task'
local tls = require 'fakes.tls'

local function failure(f, ...)
  local ok, message = pcall(f, ...)
  assert.is_false(ok)
  return message
end

--- Runs f with the URL of a server that answers as told, and closes the server.
local function with_server(answer, f, options)
  local requests = {}
  local server = assert(http.serve(options or {}, function(request)
    requests[#requests + 1] = request
    return type(answer) == 'function' and answer(request, #requests) or answer
  end))
  local ok, message = pcall(f, ('http://127.0.0.1:%d'):format(server:port()), requests)
  server:close()
  assert(ok, message)
end

--- Runs f with the waits between two attempts noted instead of waited, each as long as it may be.
local function with_waits(f)
  local sleep, random, waits = task.sleep, math.random, {}
  task.sleep = function(seconds) waits[#waits + 1] = seconds end
  rawset(math, 'random', function() return 1 end)
  local ok, message = pcall(f, waits)
  task.sleep = sleep
  rawset(math, 'random', random)
  assert(ok, message)
end

describe('http.request', function()
  it('sends method, path, headers and body, and gives back what came', function()
    with_server({ status = 201, headers = { ['X-Answer'] = ' yes ' }, body = 'made' },
      function(url, requests)
        local response = assert(http.request { method = 'PUT', url = url .. '/a%20b?c=d',
          headers = { ['X-Asked'] = 'why', ['X-Number'] = 7, ['X-Empty'] = '' }, body = '{"a":1}' })
        assert.equal(201, response.status)
        assert.equal('made', response.body)
        assert.equal('yes', response.headers['x-answer'])
        assert.is_true(response.seconds >= 0 and response.seconds < 60)
        local r = requests[1]
        assert.same({ 'PUT', '/a b', 'c=d', '{"a":1}', '127.0.0.1' },
          { r.method, r.path, r.query, r.body, r.peer })
        assert.same({ 'why', '7', '' },
          { r.headers['x-asked'], r.headers['x-number'], r.headers['x-empty'] })
        assert.matches('^perigee/%d', r.headers['user-agent'])
      end)
  end)

  it('knows HEAD, and an empty body', function()
    with_server({ body = 'not sent' }, function(url, requests)
      assert.equal('', assert(http.request { method = 'HEAD', url = url }).body)
      assert.equal(200, assert(http.request { method = 'POST', url = url, body = '' }).status)
      assert.same({ 'HEAD', 'POST' }, { requests[1].method, requests[2].method })
    end)
  end)

  it('takes any status for an answer, a redirect too', function()
    for _, status in ipairs { 204, 301, 400, 404, 500, 503 } do
      with_server({ status = status, headers = { Location = '/x' } }, function(url, requests)
        assert.equal(status, assert(http.request { url = url }).status)
        assert.equal(1, #requests)
      end)
    end
  end)

  it('follows as many redirects as it is told to', function()
    local function answer(request)
      local n = math.tointeger(request.path:match '%d+')
      if n == 0 then return { body = 'there' } end
      return { status = 302, headers = { Location = '/' .. n - 1 } }
    end
    with_server(answer, function(url)
      assert.equal('there', assert(http.request { url = url .. '/3', max_redirects = 3 }).body)
      local response, message, code = http.request { url = url .. '/4', max_redirects = 3 }
      assert.is_nil(response)
      assert.matches('Maximum %(3%) redirects followed', message)
      assert.equal('io', code)
    end)
  end)

  it('drops the credentials when it is sent to another host', function()
    with_server({ body = 'b' }, function(b, seen_by_b)
      local elsewhere = b:gsub('127.0.0.1', 'localhost')
      with_server({ status = 302, headers = { Location = elsewhere } }, function(a, seen_by_a)
        assert(http.request { url = a, max_redirects = 1,
          headers = { Authorization = 'Bearer secret-token' } })
        assert.equal('Bearer secret-token', seen_by_a[1].headers.authorization)
        assert.is_nil(seen_by_b[1].headers.authorization)
      end)
    end)
  end)

  it('names in words and by a code what went wrong', function()
    local cases = {
      { url = 'http://127.0.0.1:1/x?token=hidden', code = 'connection',
        words = '^http://127.0.0.1:1/x: Failed to connect' },
      { url = 'http://no.such.host.invalid/', code = 'dns', words = 'Could not resolve host' },
      { url = 'http://a b/', code = 'url', words = '^no valid URL: ' },
      { url = 'ftp://127.0.0.1/', code = 'url', words = '^no http:// or https:// URL$' },
      { url = '127.0.0.1:9090', code = 'url', words = '^no valid URL: ' },
    }
    for _, case in ipairs(cases) do
      local response, message, code = http.request { url = case.url }
      assert.is_nil(response)
      assert.matches(case.words, message)
      assert.equal(case.code, code)
      assert.is_nil(message:find('hidden', 1, true))
    end
  end)

  it('holds the limit of the body', function()
    with_server({ body = ('x'):rep(1000) }, function(url)
      assert.equal(1000, #assert(http.request { url = url, max_body = 1000 }).body)
      local response, message, code = http.request { url = url, max_body = 999 }
      assert.is_nil(response)
      assert.matches('the answer is larger than the limit of 999 bytes$', message)
      assert.equal('too_large', code)
    end)
  end)

  it('holds the limit of time', function()
    local released = async.event()
    with_server(function() released:wait() return {} end, function(url)
      local response, message, code = http.request { url = url, timeout = 0.05 }
      released:set()
      assert.is_nil(response)
      assert.matches('timed out after', message)
      assert.equal('timeout', code)
    end)
  end)

  it('tells a broken answer from none', function()
    for code, case in pairs {
      reset = { 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf', 'close' },
      timeout = { 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf', 'hang' },
      io = { 'SSH-2.0-OpenSSH\r\n', 'close' },
    } do
      local server = raw.serve(case[1], case[2])
      local response, _, found = http.request { url = server.url, timeout = 0.3 }
      server:close()
      assert.is_nil(response)
      assert.equal(code, found)
    end
    for _, ending in ipairs { 'close', 'reset' } do
      local server = raw.serve('', ending)
      local response, _, code = http.request { url = server.url }
      server:close()
      assert.same({ nil, 'reset' }, { response, code })
    end
    local server = raw.serve('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf')
    assert.equal('reset', select(3, http.request { url = server.url }))
    server:close()
  end)

  it('unpacks what is compressed, within the limit', function()
    local gzip <close> = assert(io.popen("head -c 1000 /dev/zero | tr '\\0' x | gzip -nc"))
    local packed = gzip:read 'a'
    local server = raw.serve(('HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n'
      .. '\r\n%s'):format(#packed, packed))
    local response, message = http.request { url = server.url }
    local _, _, code = http.request { url = server.url, max_body = 500 }
    server:close()
    assert.equal(('x'):rep(1000), assert(response, message).body)
    assert.equal('too_large', code)
  end)

  it('sends no body of its own to be continued', function()
    with_server({}, function(url, requests)
      assert(http.request { method = 'POST', url = url, body = ('x'):rep(100000) })
      assert.is_nil(requests[1].headers.expect)
    end)
  end)

  describe('that is guarded', function()
    it('calls neither link-local addresses nor the port that is our own', function()
      for _, address in ipairs { 'http://169.254.169.254/latest/meta-data', 'http://[fe80::1]/',
        'http://[::ffff:169.254.169.254]/', 'http://[fd00:ec2::254]/' } do
        local response, message, code = http.request { url = address, guarded = true, timeout = 1 }
        assert.is_nil(response)
        assert.matches('is refused$', message)
        assert.equal('refused', code)
      end
      with_server({}, function(url, requests)
        local port = math.tointeger(url:match '%d+$')
        for _, host in ipairs { '127.0.0.1', 'localhost', '127.0.0.2', '0.0.0.0', '2130706433' } do
          local _, message, code = http.request { url = ('http://%s:%d/'):format(host, port),
            guarded = true, refuse_port = port }
          assert.equal('refused', code, message)
        end
        assert.equal(0, #requests)
        assert.equal(200, assert(http.request { url = url, guarded = true }).status)
      end)
    end)
  end)

  describe('with options that are wrong', function()
    local function words(options)
      local function call() local r = http.request(options) return r end
      local message = failure(call)
      assert.matches('^tests/lua/http_spec.lua:%d+: http.request: ', message)
      return message:match ': http.request: (.*)$'
    end

    it('blames the line that called, and says what was expected', function()
      assert.equal('expected a table of options, not "http://x"', words 'http://x')
      assert.equal('option "url" is missing', words {})
      assert.equal('url: expected a text, not 5', words { url = 5 })
      assert.equal('unknown option "header"; did you mean "headers"?',
        words { url = 'http://x', header = {} })
      assert.equal('method: expected a method such as GET or POST, in capitals, not "get"',
        words { url = 'http://x', method = 'get' })
      assert.equal('timeout: expected a number above 0 and at most 86400, not "5s"',
        words { url = 'http://x', timeout = '5s' })
      assert.equal('timeout: expected a number above 0 and at most 86400, not 0',
        words { url = 'http://x', timeout = 0 })
      assert.equal('body: expected a text, not a table', words { url = 'http://x', body = {} })
      assert.equal('retries: expected a whole number of at least 0 and at most 10, not -1',
        words { url = 'http://x', retries = -1 })
      assert.equal('unknown option "cafile"; did you mean "ca_file"?',
        words { url = 'http://x', tls = { cafile = 'x' } })
      assert.equal('tls.ca_file: expected a text, not 5',
        words { url = 'http://x', tls = { ca_file = 5 } })
    end)

    it('lets no header smuggle in another', function()
      for _, value in ipairs { 'a\r\nX-Evil: 1', 'a\nb', 'a\0b', true, {} } do
        assert.matches('^headers.X%-A: expected a text of one line',
          words { url = 'http://x', headers = { ['X-A'] = value } })
      end
      for _, name in ipairs { 'X A', 'X:A', 'X\nA', '', 'X(A)' } do
        assert.matches('is not a valid name here$',
          words { url = 'http://x', headers = { [name] = 'a' } })
      end
    end)
  end)

  describe('over TLS', function()
    local pair, server
    setup(function()
      pair = tls.certificate()
      server = tls.serve(pair)
    end)
    teardown(function()
      server:close()
      for _, path in ipairs { pair.cert, pair.key, pair.folder } do os.remove(path) end
    end)

    local function refused(options)
      local response, message, code = http.request { url = server.url, tls = options }
      assert.is_nil(response)
      assert.equal('tls', code, message)
      return message
    end

    it('believes only who has a certificate for the name that is asked', function()
      assert.matches('self.signed certificate', refused(nil))
      assert.matches('target host name .127.0.0.1.', refused { ca_file = pair.cert })
      assert.matches('target host name .other.test.',
        refused { ca_file = pair.cert, server_name = 'other.test' })
      local response = assert(http.request { url = server.url,
        tls = { ca_file = pair.cert, server_name = 'tls.test' } })
      assert.equal(200, response.status)
    end)

    it('looks away only where it is told to', function()
      assert.equal(200,
        assert(http.request { url = server.url, tls = { insecure_skip_verify = true } }).status)
    end)

    it('names the file that it cannot use', function()
      assert.matches('/no/such', refused { ca_file = '/no/such' })
      assert.matches('/no/such', refused { cert_file = '/no/such', insecure_skip_verify = true })
      assert.matches('private key', refused { cert_file = pair.cert, key_file = '/no/such',
        insecure_skip_verify = true })
      assert.matches('private key', refused { cert_file = pair.cert, insecure_skip_verify = true })
    end)

    it('shows its own certificate', function()
      local asking = tls.serve(pair, '-Verify', '1', '-verify_return_error', '-CAfile', pair.cert)
      local response, message = http.request { url = asking.url, tls = { cert_file = pair.cert,
        key_file = pair.key, insecure_skip_verify = true } }
      local without = http.request { url = asking.url, tls = { insecure_skip_verify = true } }
      asking:close()
      assert.equal(200, assert(response, message).status)
      assert.is_nil(without)
    end)

    it('takes no plain server for one', function()
      with_server({}, function(url)
        assert.equal('tls', select(3, http.request { url = url:gsub('^http', 'https') .. '' }))
      end)
    end)
  end)
end)

describe('http.request that is tried again', function()
  local function failing(statuses, headers)
    return function(_, n) return { status = statuses[n] or 200, headers = headers or {} } end
  end

  it('is sent once unless it is asked to', function()
    with_waits(function(waits)
      with_server({ status = 503 }, function(url, requests)
        assert.equal(503, assert(http.request { url = url }).status)
        assert.equal(1, #requests)
        assert.same({}, waits)
      end)
    end)
  end)

  it('waits twice as long each time, at most', function()
    with_waits(function(waits)
      with_server({ status = 503 }, function(url, requests)
        assert.equal(503, assert(http.request { url = url, retries = 10 }).status)
        assert.equal(11, #requests)
        assert.same({ 0.25, 0.5, 1, 2, 4, 8, 16, 30, 30, 30 }, waits)
      end)
    end)
  end)

  it('waits a random share of that', function()
    with_waits(function(waits)
      local share = 0.125
      rawset(math, 'random', function() return share end)
      with_server({ status = 502 }, function(url)
        assert(http.request { url = url, retries = 2 })
        assert.same({ 0.25 * share, 0.5 * share }, waits)
      end)
    end)
  end)

  it('ends with the first answer that is none of a server in trouble', function()
    with_waits(function()
      for _, status in ipairs { 408, 429, 500, 502, 503, 504 } do
        with_server(failing { status, status }, function(url, requests)
          assert.equal(200, assert(http.request { url = url, retries = 5 }).status)
          assert.equal(3, #requests)
        end)
      end
      for _, status in ipairs { 400, 401, 403, 404, 409, 413, 422, 501, 505 } do
        with_server(failing { status, status }, function(url, requests)
          assert.equal(status, assert(http.request { url = url, retries = 5 }).status)
          assert.equal(1, #requests)
        end)
      end
    end)
  end)

  it('tries again where nobody answered, and not where it can never be otherwise', function()
    local resetting = raw.serve('', 'reset')
    with_waits(function(waits)
      local nobody = 'http://127.0.0.1:1'
      assert.equal('connection', select(3, http.request { url = nobody, retries = 2 }))
      assert.equal(2, #waits)
      assert.equal('reset', select(3, http.request { url = resetting.url, retries = 1 }))
      assert.equal(3, #waits)
      assert.equal('url', select(3, http.request { url = 'http://a b', retries = 2 }))
      with_server({ body = 'xx' }, function(url)
        assert.equal('too_large', select(3, http.request { url = url, max_body = 1, retries = 2 }))
      end)
      assert.equal(3, #waits)
    end)
    resetting:close()
  end)

  it('asks its caller whether to', function()
    with_waits(function(waits)
      with_server({ status = 404 }, function(url)
        local seen = {}
        assert(http.request { url = url, retries = 3, again = function(response, code)
          seen[#seen + 1] = { response.status, code }
          return #seen < 2
        end })
        assert.same({ { 404 }, { 404 } }, seen)
        assert.equal(1, #waits)
      end)
      assert.equal('connection', select(3, http.request { url = 'http://127.0.0.1:1', retries = 3,
        again = function(_, code) return code ~= 'connection' end }))
      assert.equal(1, #waits)
    end)
  end)

  it('waits as long as the server asks for', function()
    with_waits(function(waits)
      with_server(failing({ 503, 429 }, { ['Retry-After'] = '7' }), function(url)
        assert.equal(200, assert(http.request { url = url, retries = 2 }).status)
        assert.same({ 7, 7 }, waits)
      end)
      with_server(failing({ 503 }, { ['Retry-After'] = '0' }), function(url)
        assert(http.request { url = url, retries = 2 })
        assert.equal(0.25, waits[3])
      end)
    end)
  end)

  it('waits until the date that the server names', function()
    with_waits(function(waits)
      local now = clock.now() // 1
      local date = os.date('!%a, %d %b %Y %H:%M:%S GMT', now + 30)
      with_server(failing({ 503 }, { ['Retry-After'] = date }), function(url)
        assert.equal(200, assert(http.request { url = url, retries = 1 }).status)
        assert.is_true(waits[1] > 20 and waits[1] <= 30, waits[1])
      end)
      with_server(failing({ 503 }, { ['Retry-After'] = 'Thu, 01 Jan 1970 00:00:00 GMT' }),
        function(url)
          assert(http.request { url = url, retries = 1 })
          assert.equal(0.25, waits[2])
        end)
    end)
  end)

  it('does not come back earlier than the server wants: then the answer stands', function()
    with_waits(function(waits)
      local tomorrow = os.date('!%a, %d %b %Y %H:%M:%S GMT', os.time() + 86400)
      for _, after in ipairs { '61', '99999999999999999999999', tomorrow } do
        with_server(failing({ 503 }, { ['Retry-After'] = after }), function(url, requests)
          assert.equal(503, assert(http.request { url = url, retries = 3 }).status)
          assert.equal(1, #requests)
        end)
      end
      assert.same({}, waits)
    end)
  end)

  it('makes nothing of a Retry-After that says nothing', function()
    with_waits(function(waits)
      for _, after in ipairs { 'soon', '-5', '1e9', '', 'Thu, 01 Foo 2030 00:00:00 GMT' } do
        with_server(failing({ 503 }, { ['Retry-After'] = after }), function(url)
          assert.equal(200, assert(http.request { url = url, retries = 1 }).status)
        end)
      end
      assert.same({ 0.25, 0.25, 0.25, 0.25, 0.25 }, waits)
    end)
  end)

  it('says so in the log, by the bounded name of who is asked', function()
    with_waits(function()
      log.setup('debug', false)
      log.capture(true)
      with_server(failing { 503 }, function(url)
        assert(http.request { url = url .. '/secret-path', retries = 1, target = 'prometheus' })
      end)
      local line = log.capture(false)
      log.setup('info', false)
      assert.matches('msg="request is tried again" attempt=1 reason=503 target=prometheus wait=0.2',
        line)
      assert.is_nil(line:find('secret-path', 1, true))
    end)
  end)
end)

describe('http.get', function()
  it('tries three times, for nothing changes by it', function()
    with_waits(function(waits)
      with_server({ status = 503 }, function(url, requests)
        assert.equal(503, assert(http.get(url)).status)
        assert.equal(3, #requests)
        local once = { retries = 0, headers = { ['X-A'] = '1' } }
        assert.equal(503, assert(http.get(url, once)).status)
        assert.equal('1', requests[4].headers['x-a'])
        assert.equal(2, #waits)
      end)
    end)
  end)

  it('blames the line that called it', function()
    assert.matches('^tests/lua/http_spec.lua:%d+: http.get: unknown option "timeot"; did you',
      failure(function() local r = http.get('http://x', { timeot = 5 }) return r end))
    assert.matches('^tests/lua/http_spec.lua:%d+: http.get: option "url" is missing$',
      failure(function() local r = http.get(nil) return r end))
  end)
end)

describe('http.bearer', function()
  local path = assert(file.temporary_folder 'perigee-http') .. '/token'
  local function holding(text)
    assert(file.write(path, text))
    return http.bearer(path)
  end
  teardown(function()
    os.remove(path)
    os.remove(path:match '^(.*)/')
  end)

  it('reads the token anew each time, without what editors add', function()
    assert.equal('Bearer one-token', holding 'one-token\n')
    assert.equal('Bearer two-token', holding '  two-token\r\n\n')
  end)

  it('keeps it out of the log', function()
    holding 'a-token-never-to-be-seen'
    log.capture(true)
    log.info('m', { a = 'a-token-never-to-be-seen' })
    assert.matches(' a="?%[redacted%]"?\n$', log.capture(false))
  end)

  it('says what is wrong with the file', function()
    assert.same({ nil, path .. ' is empty' }, { holding ' \n' })
    assert.same({ nil, path .. ' holds more than one line' }, { holding 'a\nb' })
    assert.same({ nil, 'cannot read /no/such: No such file or directory' },
      { http.bearer '/no/such' })
    assert.matches('File too large$', select(2, holding(('x'):rep(65537))))
  end)
end)

describe('http.form', function()
  it('sorts by name, repeats the name of a list, and escapes', function()
    assert.equal('a=1&b=x&b=y%20z&c=%C3%A9%26%3D%2B&t=true',
      http.form { c = 'é&=+', b = { 'x', 'y z' }, a = 1, t = true, none = {} })
    assert.equal('match%5B%5D=up', http.form { ['match[]'] = 'up' })
    assert.equal('', http.form {})
  end)
end)

describe('http.parse_form', function()
  it('reads what form() writes', function()
    local fields = { a = '1', ['b c'] = 'x=y&z', d = '', ['é'] = '+ %' }
    assert.same(fields, http.parse_form(http.form(fields)))
  end)

  it('lets the first of a name count, and takes plus for a blank', function()
    assert.same({ a = '1', b = 'x y', c = '', d = 'e=f', ab = '3', g = '%zz' },
      http.parse_form 'a=1&a=2&b=x+y&c&d=e=f&&%61b=3&g=%zz')
    assert.same({}, http.parse_form '')
  end)
end)

describe('http.parse_url', function()
  local function parts(text)
    local u = assert(http.parse_url(text))
    return ('%s %s %d %s%s%s'):format(u.scheme, u.host, u.port, u.path,
      u.query and '?' .. u.query or '', u.has_user and ' user' or '')
  end

  it('takes a URL apart', function()
    assert.equal('http 127.0.0.1 9090 /', parts 'http://127.0.0.1:9090')
    assert.equal('https example.com 443 /a/b?c=d&e', parts 'https://example.com/a/b?c=d&e#f')
    assert.equal('http example.com 80 /A', parts 'HTTP://EXAMPLE.com/A')
    assert.equal('http ::1 8080 /', parts 'http://[::1]:8080/')
  end)

  it('gives one form to what is the same', function()
    for _, text in ipairs { 'http://[0:0:0:0:0:0:0:1]/', 'http://[::1]:80', 'http://[::0001]' } do
      assert.equal('http ::1 80 /', parts(text), text)
    end
    for _, text in ipairs { 'http://127.1/', 'http://0x7f000001/', 'http://2130706433/',
      'http://017700000001/', 'http://%31%32%37.0.0.1/' } do
      assert.equal('http 127.0.0.1 80 /', parts(text), text)
    end
    for _, text in ipairs { 'http://a/b/c', 'http://a/b/./c', 'http://a/b/x/../c',
      'http://a/../b/c' } do
      assert.equal('http a 80 /b/c', parts(text), text)
    end
  end)

  it('finds the host where the request will go, whatever stands before it', function()
    for text, wanted in pairs {
      ['http://a.b@evil/x'] = 'http evil 80 /x user',
      ['http://a.b:80@evil/'] = 'http evil 80 / user',
      ['http://a.b\\@evil/'] = 'http evil 80 / user',
      ['http://@a.b/'] = 'http a.b 80 / user',
      ['http://a.b#@evil/'] = 'http a.b 80 /',
      ['http://a.b?@evil/'] = 'http a.b 80 /?@evil/',
      ['http://a.b/@evil'] = 'http a.b 80 /@evil',
      ['http://a.b:80:90/'] = false, ['http://a b/'] = false, ['http://a.b\\evil/'] = false,
      ['http://'] = false, ['http:a'] = false, ['//a'] = false, ['a'] = false, [''] = false,
      ['http://a:99999/'] = false, ['http://a:x/'] = false, ['http://a/\n'] = false,
      ['ftp://a/'] = false, ['file:///etc/passwd'] = false, ['javascript:alert(1)'] = false,
      ['http://a%00b/'] = false, ['http://[::1/'] = false, ['http://[::zz]/'] = false } do
      if wanted then
        assert.equal(wanted, parts(text))
      else
        local found, message = http.parse_url(text)
        assert.is_nil(found, text)
        assert.is_string(message)
      end
    end
  end)
end)

describe('http.stream', function()
  --- Lines of a size, so many, and a rest without an end.
  local function lines(n, size)
    return { stream = function(send)
      for i = 1, n do
        if not send(('%d %s\n'):format(i, ('x'):rep(size or 1))) then return end
      end
      send 'rest'
    end }
  end

  it('gives the lines as they come, and then the answer', function()
    local go_on = async.event()
    with_server({ headers = { ['X-A'] = 'b' }, stream = function(send)
      send 'one\ntw'
      go_on:wait()
      send 'o\r\n\nrest'
    end }, function(url, requests)
      local s <close> = assert(http.stream { url = url, headers = { ['X-Asked'] = 'why' } })
      assert.equal('one', s:line())
      assert.is_false(s:answer())
      go_on:set()
      local got = {}
      for line in s:lines() do got[#got + 1] = line end
      assert.same({ 'two', '', 'rest' }, got)
      assert.same({ n = 1, nil }, table.pack(s:line()))
      local answer = s:answer()
      assert.same({ 200, 'b', '' }, { answer.status, answer.headers['x-a'], answer.body })
      assert.equal('why', requests[1].headers['x-asked'])
    end)
  end)

  it('gives no lines of what is no success', function()
    with_server({ status = 410, body = 'a\nb\n' }, function(url)
      local s <close> = assert(http.stream { url = url })
      assert.same({ n = 1, nil }, table.pack(s:line()))
      assert.same({ 410, 'a\nb\n' }, { s:answer().status, s:answer().body })
    end)
  end)

  it('does not read ahead of whoever reads, and loses nothing by that', function()
    with_server(lines(3000, 1000), function(url)
      local s <close> = assert(http.stream { url = url, max_body = 10 })
      async.sleep(0.05)
      local n = 0
      for line in s:lines() do
        n = n + 1
        assert.truthy(line == 'rest' or line:find('^' .. n .. ' x'))
        if n % 500 == 0 then async.turn() end
      end
      assert.equal(3001, n)
    end)
  end)

  it('holds the limit of a line, and of the time in which nothing comes', function()
    with_server(lines(2, 100), function(url)
      local s <close> = assert(http.stream { url = url, max_line = 101 })
      assert.same({ nil, 'a line of the answer is longer than 101 bytes', 'too_large' },
        { s:line() })
    end)
    local released = async.event()
    with_server({ stream = function(send)
      send 'one\n'
      released:wait()
    end }, function(url)
      local s <close> = assert(http.stream { url = url, idle = 0.05 })
      assert.equal('one', s:line())
      for _ = 1, 2 do
        assert.same({ nil, 'nothing has come for 0.05 seconds', 'timeout' }, { s:line() })
      end
      released:set()
    end)
  end)

  it('tells one that breaks, after what came before', function()
    local server = raw.serve('HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\none\nha')
    local s <close> = assert(http.stream { url = server.url })
    assert.equal('one', s:line())
    assert.equal('reset', select(3, s:line()))
    server:close()
    local none <close> = assert(http.stream { url = 'http://127.0.0.1:1/' })
    assert.equal('connection', select(3, none:line()))
    assert.equal('url', select(3, http.stream { url = 'ftp://a' }))
  end)

  it('hangs up when it is closed, or whoever reads it is cancelled', function()
    local gone = 0
    with_server({ stream = function(send)
      while send 'x\n' do async.sleep(0.01) end
      gone = gone + 1
    end }, function(url)
      local reader = async.spawn(function()
        local s <close> = assert(http.stream { url = url })
        for _ in s:lines() do end
      end)
      local s = assert(http.stream { url = url })
      assert.equal('x', s:line())
      local waiting = async.spawn(function()
        repeat local line = s:line() until not line
        return s:line()
      end)
      async.sleep(0.02)
      reader:cancel()
      s:close()
      assert.same({ nil, 'closed', 'io' }, { waiting:await() })
      for _ = 1, 300 do
        if gone == 2 then break end
        async.sleep(0.01)
      end
      assert.equal(2, gone)
    end)
  end)
end)

describe('http.check_url', function()
  it('says what is wrong with what an operator writes', function()
    for _, text in ipairs { 'http://127.0.0.1:9090', 'HTTPS://prometheus.example/prefix' } do
      assert.is_nil(http.check_url(text))
    end
    local words = 'expected a URL such as "http://127.0.0.1:9090", not '
    assert.equal(words .. '"127.0.0.1:9090"', http.check_url '127.0.0.1:9090')
    assert.equal(words .. '"localhost:9090"', http.check_url 'localhost:9090')
    assert.equal(words .. '9090', http.check_url(9090))
    assert.equal('no http:// or https:// URL', http.check_url 'ftp://a')
    assert.matches('^no valid URL: ', http.check_url 'http://a b')
    assert.equal('a password does not belong into a URL; use a file',
      http.check_url 'http://me:secret@a')
  end)
end)

describe('http.serve', function()
  it('tells what is wrong with its options, at the line that called', function()
    assert.matches('^tests/lua/http_spec.lua:%d+: http.serve: unknown option "prot"; did you mean',
      failure(function() local s = http.serve({ prot = 1 }, print) return s end))
    assert.matches('port: expected a whole number of at least 0 and at most 65535, not 70000$',
      failure(http.serve, { port = 70000 }, print))
    assert.matches('function expected', failure(http.serve, {}, nil))
  end)

  it('returns why it cannot listen', function()
    with_server({}, function(url)
      local server, message = http.serve({ port = math.tointeger(url:match '%d+$') }, print)
      assert.is_nil(server)
      assert.matches('in use', message)
    end)
    local server, message = http.serve({ host = 'not-an-address' }, print)
    assert.is_nil(server)
    assert.is_string(message)
  end)

  it('holds the limit of a request', function()
    with_server({}, function(url, requests)
      local response = assert(http.request { method = 'POST', url = url, body = ('x'):rep(101) })
      assert.equal(413, response.status)
      assert.equal(0, #requests)
      assert.equal(200,
        assert(http.request { method = 'POST', url = url, body = ('x'):rep(100) }).status)
    end, { max_body = 100 })
  end)

  it('streams what a function sends, until it returns', function()
    with_server({ headers = { ['X-A'] = 'b' }, stream = function(send)
      for i = 1, 3 do
        assert.is_true(send(('piece %d\n'):format(i)))
        async.turn()
      end
    end }, function(url)
      local response = assert(http.request { url = url })
      assert.same({ 200, 'b', 'piece 1\npiece 2\npiece 3\n' },
        { response.status, response.headers['x-a'], response.body })
    end)
  end)

  it('cuts off a stream whose function fails, and tells one whose client is gone', function()
    log.capture(true)
    with_server({ stream = function(send)
      send 'the begin'
      error 'broken'
    end }, function(url)
      local response, _, code = http.request { url = url }
      assert.same({ nil, 'reset' }, { response, code }) -- not an answer that looks whole
    end)
    assert.matches('handler failed.*broken', log.capture(false))
    local gone
    with_server({ stream = function(send)
      while send 'x' do async.sleep(0.01) end
      gone = true
    end }, function(url)
      assert(not http.request { url = url, max_body = 10 })
      for _ = 1, 300 do
        if gone then break end
        async.sleep(0.01)
      end
      assert.is_true(gone)
    end)
  end)

  it('ends a connection without an answer', function()
    with_server({ drop = true }, function(url)
      local _, message, code = http.request { url = url }
      assert.equal('reset', code, message)
    end)
  end)

  it('is sent again where a kept connection breaks, unless it is for once', function()
    for _, once in ipairs { false, true } do
      local n = 0
      with_server(function()
        n = n + 1
        return n == 2 and { drop = true } or { body = 'ok' }
      end, function(url)
        assert(http.request { url = url }) -- whose connection is kept
        local response, _, code = http.request { url = url, method = 'PUT', body = 'x',
          once = once }
        assert.same(once and { nil, 'reset', 2 } or { 200, nil, 3 },
          { response and response.status, code, n })
      end)
    end
  end)

  it('answers 500 for a handler that fails', function()
    log.capture(true)
    with_server(function() error 'broken' end, function(url)
      local response = assert(http.request { url = url })
      assert.equal(500, response.status)
      assert.is_nil(response.body:find('http_spec', 1, true))
    end)
    assert.matches('handler failed.*http_spec.lua:%d+: broken', log.capture(false))
  end)
end)
