local alertmanager = require 'alertmanager'
local file = require 'perigee.file'
local http = require 'http'
local json = require 'json'

-- How long is waited between two attempts http_spec tells; here it is not at all.
local random = math.random
setup(function() rawset(math, 'random', function() return 0 end) end)
teardown(function() rawset(math, 'random', random) end)

--- An Alertmanager that gives the answers in turn, the last for ever. Runs f with a client of it
--- and what it was asked.
local function with_answers(answers, f, options)
  local asked = {}
  local server <close> = setmetatable({ http = assert(http.serve({}, function(request)
    asked[#asked + 1] = request
    return answers[math.min(#asked, #answers)]
  end)) }, { __close = function(s) s.http:close() end })
  local o = { url = ('http://127.0.0.1:%d/am/'):format(server.http:port()) }
  for k, v in pairs(options or {}) do o[k] = v end
  f(alertmanager.client(o), asked)
end

local function failure(options)
  local ok, message = pcall(function()
    local c = alertmanager.client(options)
    return c
  end)
  assert.is_false(ok)
  return message:match '^tests/lua/alertmanager_spec.lua:%d+: alertmanager.client: (.*)$'
end

describe('alertmanager client:post', function()
  it('sends a list of alerts to API v2, behind the path of the URL', function()
    local alert = { labels = { alertname = 'PerigeePage' }, annotations = { summary = 'ü' },
      startsAt = '2026-01-01T00:00:00Z' }
    with_answers({ { status = 200 } }, function(c, asked)
      assert.is_true(c:post { alert })
      assert.equal('POST', asked[1].method)
      assert.equal('/am/api/v2/alerts', asked[1].path)
      assert.equal('application/json', asked[1].headers['content-type'])
      assert.is_nil(asked[1].headers.authorization)
      assert.same({ alert }, json.decode(asked[1].body))
      assert.is_true(c:post {})
      assert.equal('[]', asked[2].body)
    end)
  end)

  it('reads the token anew each time, and sends nothing without it', function()
    local folder = assert(file.temporary_folder 'perigee-alertmanager')
    local path = folder .. '/token'
    with_answers({ { status = 200 } }, function(c, asked)
      for _, token in ipairs { 'the-first-token', 'the-second-token' } do
        assert(file.write(path, token .. '\n'))
        assert.is_true(c:post {})
        assert.equal('Bearer ' .. token, asked[#asked].headers.authorization)
      end
      os.remove(path)
      local ok, message = c:post {}
      assert.is_nil(ok)
      assert.matches('^cannot read .*/token: ', message)
      assert.equal(2, #asked)
    end, { bearer_token_file = path })
    os.remove(folder)
  end)

  it('tries again where that may help: the same alert is one alert', function()
    with_answers({ { status = 503 }, { status = 500 }, { status = 200 } }, function(c, asked)
      assert.is_true(c:post {})
      assert.equal(3, #asked)
    end)
    with_answers({ { status = 503, body = 'no quorum' } }, function(c, asked)
      assert.same({ nil, 'status 503: no quorum' }, { c:post {} })
      assert.equal(5, #asked)
    end)
  end)

  it('says what the other side says, and no more of it than can be read', function()
    with_answers({ { status = 400, body = ('x'):rep(1000) } }, function(c, asked)
      local ok, message = c:post {}
      assert.is_nil(ok)
      assert.equal('status 400: ' .. ('x'):rep(200), message)
      assert.equal(1, #asked)
    end)
    with_answers({ { status = 302, headers = { Location = '/elsewhere' } } }, function(c, asked)
      assert.same({ nil, 'status 302: ' }, { c:post {} })
      assert.equal(1, #asked)
    end)
  end)

  it('says why there is no answer', function()
    local ok, message = alertmanager.client({ url = 'http://127.0.0.1:1' }):post {}
    assert.is_nil(ok)
    assert.matches('127.0.0.1', message)
  end)
end)

describe('alertmanager.client', function()
  it('refuses options that are wrong, at the line that called', function()
    assert.equal('option "url" is missing', failure {})
    assert.equal('url: expected a URL such as "http://127.0.0.1:9090", not "am:9093"',
      failure { url = 'am:9093' })
    assert.equal('url: a password does not belong into a URL; use a file',
      failure { url = 'http://me:secret@am' })
    assert.equal('url: expected an address without a query', failure { url = 'http://am/?a=b' })
    assert.equal('timeout: expected at least 100ms, not "0"',
      failure { url = 'http://am', timeout = '0' })
    assert.equal('tls: expected a table, not true', failure { url = 'http://am', tls = true })
  end)
end)

describe('alertmanager.fingerprint', function()
  -- webhook_spec, from end to end, holds it against a real one.
  it('is that of Alertmanager', function()
    assert.equal('cbf29ce484222325', alertmanager.fingerprint {})
    assert.equal('0c684ac851afbf93',
      alertmanager.fingerprint { app = 'checkout', alertname = 'HighErrorRate' })
  end)
end)
