local fake = require 'fakes.prometheus'
local file = require 'perigee.file'
local http = require 'http'
local json = require 'json'
local repository = require 'lua.risk.repository'
local support = require 'lua.command.support'

local SETTINGS = [[
services: { checkout: "^services/checkout/", cart: "^services/cart/" }
incidents: { weight: 4 }
error_budget: { query: 'budget{service="$service"}', below: 0.1, weight: 6 }
]]

--- A perigee whose API has these incidents, for f(url, token file).
local function with_perigee(incidents, f)
  local folder = assert(file.temporary_folder 'perigee-spec')
  assert(file.write(folder .. '/token', 'a-token-of-the-tests\n'))
  local server = assert(http.serve({}, function(request)
    if request.headers.authorization ~= 'Bearer a-token-of-the-tests' then
      return { status = 401, body = '{"status":"error","error":"no token"}' }
    end
    return { body = json.encode { status = 'success', data = json.array(incidents) } }
  end))
  local ok, message = pcall(f, ('http://127.0.0.1:%d'):format(server:port()), folder .. '/token')
  server:close()
  os.execute(("rm -rf '%s'"):format(folder))
  assert(ok, message)
end

local function risk(r, ...)
  return support.run { 'risk', '--base', 'main', '--json', cwd = r.folder, ... }
end

describe('what production says of a change', function()
  local r
  before_each(function()
    r = repository.new { ['risk.yaml'] = SETTINGS }
    r:commit { ['services/checkout/main.go'] = 'x' }
  end)
  after_each(repository.tidy)

  it('counts open incidents of the services that are touched', function()
    with_perigee({
      { name = 'slow', state = 'open', labels = { service = 'checkout' } },
      { name = 'over', state = 'resolved', labels = { service = 'checkout' } },
      { name = 'elsewhere', state = 'open', labels = { service = 'cart' } },
      { name = 'nowhere', state = 'open' },
    }, function(url, token)
      local d = support.document(risk(r, '--url', url, '--token-file', token))
      assert.equal(4, d.risk_score)
      assert.same({ { points = 4, reason = 'incident slow is open at checkout' } }, d.production)
    end)
  end)

  it('counts error budgets that are nearly spent', function()
    local source = fake.serve()
    source.values = { ['budget{service="checkout"}'] = 0.05, ['budget{service="cart"}'] = 0.01 }
    local d = support.document(risk(r, '--source', source.url))
    assert.equal(6, d.risk_score)
    assert.equal('checkout has 0.05 of its error budget left, less than 0.1',
      d.production[1].reason)
    source.values['budget{service="checkout"}'] = 0.1
    assert.equal(0, support.document(risk(r, '--source', source.url)).risk_score)
    source.close()
  end)

  it('that cannot be had is told, with status 3', function()
    local result = risk(r, '--source', 'http://127.0.0.1:1')
    assert.equal(3, result.status)
    assert.matches('^perigee: http://127.0.0.1:1: ', result.err)
    result = risk(r, '--url', 'http://127.0.0.1:1')
    assert.equal(3, result.status)
    with_perigee({}, function(url)
      result = risk(r, '--url', url)
      assert.equal(3, result.status)
      assert.matches('no token', result.err, 1, true)
    end)
  end)
end)
