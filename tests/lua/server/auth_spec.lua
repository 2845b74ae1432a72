local auth = require 'server.auth'
local support = require 'lua.engine.support'

local TOKENS = { tokens = {
  { name = 'vera', role = 'viewer', token_file = 'f' },
  { name = 'anna', role = 'approver', token_file = 'f' },
  { name = 'adam', role = 'admin', token_file = 'f' },
  { name = 'alma', role = 'alert_sender', token_file = 'f' },
} }

local function config(set)
  local values = support.config(set)
  support.tidy()
  return values
end

local function request(more)
  local r = { method = 'GET', path = '/', query = '', body = '', peer = '127.0.0.1',
    headers = { host = '127.0.0.1:9747' } }
  for k, v in pairs(more or {}) do
    if k == 'method' then r.method = v else r.headers[k] = v end
  end
  return r
end

local function status_of(values, headers, needs)
  local identity, refusal = auth.check(values, request(headers), needs)
  return identity and identity.name or refusal.status
end

describe('without tokens', function()
  local values = config()

  it('what is open and what is read is for everybody, changes are for nobody', function()
    assert.equal('anonymous', status_of(values, {}, 'open'))
    assert.equal('anonymous', status_of(values, {}, 'viewer'))
    for _, needs in ipairs { 'approver', 'admin', 'alert_sender' } do
      assert.equal(403, status_of(values, {}, needs))
      assert.equal(403, status_of(values, { authorization = 'Bearer anything' }, needs))
    end
  end)
end)

describe('with tokens', function()
  local values = config { auth = TOKENS }

  it('each role may do its own, and what it includes', function()
    local table_of = {
      vera = { viewer = true }, anna = { viewer = true, approver = true },
      adam = { viewer = true, approver = true, admin = true, alert_sender = true },
      alma = { alert_sender = true },
    }
    for name, may in pairs(table_of) do
      local headers = { authorization = 'Bearer secret-of-' .. name }
      for _, needs in ipairs { 'viewer', 'approver', 'admin', 'alert_sender' } do
        assert.equal(may[needs] and name or 403, status_of(values, headers, needs), name .. needs)
      end
    end
  end)

  it('nobody is nobody: 401 for reading and for changing', function()
    for _, header in ipairs { '', 'Bearer', 'Bearer ', 'Bearer secret-of-ver', 'secret-of-vera',
      'Bearer secret-of-verax', 'Bearer secret-of-vera secret-of-adam', 'Basic c2VjcmV0',
      'Bearer SECRET-OF-VERA', 'Bearer secret-of-vera\0' } do
      for _, needs in ipairs { 'viewer', 'admin' } do
        assert.equal(401, status_of(values, { authorization = header }, needs), header)
      end
    end
    assert.equal(401, status_of(values, {}, 'viewer'))
  end)

  it('what is open stays open', function()
    assert.equal('anonymous', status_of(values, {}, 'open'))
  end)

  it('"bearer" is as good as "Bearer"', function()
    assert.equal('vera', status_of(values, { authorization = 'bearer  secret-of-vera' }, 'viewer'))
  end)

  it('says who lacks what, and never a token', function()
    local _, refusal = auth.check(values,
      request { authorization = 'Bearer secret-of-vera' }, 'admin')
    assert.equal('vera has the role viewer; this needs admin', refusal.message)
    _, refusal = auth.check(values, request { authorization = 'Bearer guessed-token' }, 'admin')
    assert.is_nil(refusal.message:find('guessed', 1, true))
  end)
end)

describe('the Host header', function()
  local function refused(host, set)
    return auth.refuse_request(config(set), request { host = host }) ~= nil
  end

  it('must be an address, localhost, or a name of ours', function()
    for _, host in ipairs { '127.0.0.1', '127.0.0.1:9747', '10.1.2.3:80', '[::1]', '[::1]:9747',
      'localhost', 'localhost:9747', 'LocalHost' } do
      assert.is_false(refused(host), host)
    end
    for _, host in ipairs { '', 'evil.example', 'evil.example:9747', 'localhost.evil.example',
      '127.0.0.1.evil.example', 'localhost@evil.example', '[::1].evil.example', '[dead]' } do
      assert.is_true(refused(host), host)
    end
    assert.is_true(auth.refuse_request(config(), { method = 'GET', headers = {} }) ~= nil)
  end)

  it('may be what allowed_hosts or external_url name, and nothing near it', function()
    local set = { allowed_hosts = { 'perigee.internal' },
      external_url = 'https://perigee.example.com/sub' }
    assert.is_false(refused('perigee.internal', set))
    assert.is_false(refused('Perigee.Internal:9747', set))
    assert.is_false(refused('perigee.example.com', set))
    assert.is_true(refused('xperigee.internal', set))
    assert.is_true(refused('perigee.example.com.evil', set))
  end)
end)

describe('the Origin header', function()
  local function refused(origin, method, set)
    return auth.refuse_request(config(set), request { origin = origin, method = method or 'POST' })
      ~= nil
  end

  it('of a foreign page is refused where something changes, and only there', function()
    for _, origin in ipairs { 'http://evil.example', 'http://127.0.0.1:80', 'http://127.0.0.1',
      'null', '', 'http://127.0.0.1:97470', 'http://127.0.0.1:974' } do
      for _, method in ipairs { 'POST', 'PUT', 'DELETE' } do
        assert.is_true(refused(origin, method), origin)
      end
      assert.is_false(refused(origin, 'GET'), origin)
    end
  end)

  it('of our own page is welcome, and so is none', function()
    assert.is_false(refused 'http://127.0.0.1:9747')
    assert.is_false(refused 'https://127.0.0.1:9747')
    assert.is_nil((auth.refuse_request(config(), request { method = 'POST' })))
  end)

  it('is compared with external_url whole: a name that begins like ours is not ours', function()
    local set = { external_url = 'https://perigee.example.com/sub/' }
    assert.is_false(refused('https://perigee.example.com', 'POST', set))
    assert.is_false(refused('https://perigee.example.com:443', 'POST', set))
    for _, origin in ipairs { 'https://perigee.example.co', 'https://perigee.example',
      'https://perigee', 'https:', 'h', 'http://perigee.example.com',
      'https://perigee.example.com:8443', 'https://perigee.example.com.evil' } do
      assert.is_true(refused(origin, 'POST', set), origin)
    end
  end)
end)
