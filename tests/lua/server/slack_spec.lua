local daemon = require 'fakes.daemon' -- before what requires the real one
local clock = require 'perigee.clock'
local file = require 'perigee.file'
local hash = require 'perigee.hash'
local http = require 'http'
local json = require 'perigee.json'
local plans = require 'engine.plans'
local routes = require 'server.routes'
local slack = require 'server.slack'
local slack_inbox = require 'engine.slack_inbox'
local slack_support = require 'lua.engine.slack_support'
local support = require 'lua.engine.support'

support.still()
assert(daemon)

-- Slack's own example: api.slack.com/authentication/verifying-requests-from-slack
local EXAMPLE = { secret = '8f742231b10e8888abcd99yyyzzz85a5', at = '1531420618',
  body = 'token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow'
    .. '&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner'
    .. '&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands'
    .. '%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121'
    .. '.803a0bc887a14d10d2c447fce8b6703c',
  signature = 'v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503' }

local SECRET = 'a-secret-of-slack'

--- An engine with a plan whose message is posted, and one who sends signed requests.
local function world()
  local path = support.folder() .. '/secret'
  assert(file.write(path, SECRET .. '\n'))
  local engine = slack_support.engine { config = { slack = { bot_token_file = 'f',
    channel = '#incidents', approvers = { 'U1' }, signing_secret_file = path } } }
  local p = slack_support.plan(engine)
  slack_support.settle(engine)
  local handle = routes.handler(engine)

  local function send(body, more)
    more = more or {}
    local at = more.at or tostring(math.floor(clock.now()))
    local headers = { host = 'perigee.example.org', origin = 'https://evil.example',
      ['content-type'] = more.kind or 'application/x-www-form-urlencoded',
      ['x-slack-request-timestamp'] = at,
      ['x-slack-signature'] = 'v0=' .. hash.hmac_sha256(more.secret or SECRET,
        ('v0:%s:%s'):format(at, body)) }
    for k, v in pairs(more.headers or {}) do headers[k] = v ~= 'none' and v or nil end
    local response = handle { method = more.method or 'POST', path = '/slack/interactions',
      query = '', peer = '127.0.0.1', body = body, headers = headers }
    return response.status, response.body
  end

  local function form(payload) return http.form { payload = json.encode(payload) } end
  return engine, p, send, form
end

describe('Slack\'s signature', function()
  it('is that of Slack\'s own example', function()
    local before = clock.now()
    clock.make_virtual(tonumber(EXAMPLE.at) + 10)
    local headers = { ['x-slack-request-timestamp'] = EXAMPLE.at,
      ['x-slack-signature'] = EXAMPLE.signature }
    assert.is_true(slack.verify(EXAMPLE.secret, headers, EXAMPLE.body))
    assert.is_nil((slack.verify(EXAMPLE.secret, headers, EXAMPLE.body .. '&')))
    assert.is_nil((slack.verify(EXAMPLE.secret .. 'x', headers, EXAMPLE.body)))
    clock.make_virtual(before)
  end)
end)

describe('POST /slack/interactions', function()
  after_each(support.tidy)

  it('takes a signed click, answers with an empty body, and decides', function()
    local engine, p, send, form = world()
    local pokes = 0
    function engine.poke() pokes = pokes + 1 end
    assert.same({ 200, '' }, { send(form(slack_support.click(engine, p))) })
    assert.equal(1, pokes)
    assert.equal('pending', plans.get(engine.store, p.id).state)
    slack_inbox.process(engine)
    assert.equal('approved', plans.get(engine.store, p.id).state)
  end)

  it('refuses what is not signed as it should be', function()
    local engine, p, send, form = world()
    local body, now = form(slack_support.click(engine, p)), math.floor(clock.now())
    local cases = {
      { secret = 'another' }, { at = tostring(now - 301) }, { at = tostring(now + 301) },
      { at = tostring(now) .. '.0' }, { at = '0x' .. ('%x'):format(now) }, { at = '' },
      { at = ('9'):rep(400) }, { at = '-' .. now }, { at = ' ' .. now },
      { headers = { ['x-slack-signature'] = 'none' } },
      { headers = { ['x-slack-request-timestamp'] = 'none' } },
      { headers = { ['x-slack-signature'] = '' } },
      { headers = { ['x-slack-signature'] = 'v0=' } },
      { headers = { ['x-slack-signature'] = 'v1=' .. ('0'):rep(64) } },
      { headers = { ['x-slack-signature'] = 'v0=' .. ('0'):rep(64) } },
      { headers = { ['x-slack-signature'] = 'v0=' .. ('0'):rep(100000) } },
      { headers = { ['x-slack-request-timestamp'] = tostring(now - 1) } },
    }
    for i, case in ipairs(cases) do assert.equal(401, (send(body, case)), i) end
    slack_inbox.process(engine)
    assert.equal('pending', plans.get(engine.store, p.id).state)
    assert.equal(200, (send(body, { at = tostring(now - 300) })))
    assert.equal(200, (send(body, { at = tostring(now + 300) })))
  end)

  it('of what is sent again makes nothing', function()
    local engine, p, send, form = world()
    local body, at = form(slack_support.click(engine, p)), tostring(math.floor(clock.now()))
    for _ = 1, 3 do
      assert.equal(200, (send(body, { at = at })))
      clock.advance(100)
    end
    assert.equal(1, engine.store:row('select count(*) as n from slack_clicks').n)
    clock.advance(1)
    assert.equal(401, (send(body, { at = at })))
  end)

  it('answers a challenge with itself', function()
    local _, _, send = world()
    assert.same({ 200, 'abc' }, { send('{"type":"url_verification","challenge":"abc"}',
      { kind = 'application/json; charset=utf-8' }) })
  end)

  it('refuses what it cannot read, and keeps quiet about what it does not know', function()
    local engine, _, send, form = world()
    for i, body in ipairs { '', 'payload=', 'payload=%7B', 'payload=5', 'other=1', '{}',
      'payload=null' } do
      assert.equal(400, (send(body)), i)
    end
    assert.equal(400, (send('{"type":"url_verification","challenge":"a"}', { kind = 'text/xml' })))
    assert.equal(413, (send(('x'):rep((1 << 20) + 1))))
    assert.equal(405, (send('', { method = 'GET' })))
    for i, payload in ipairs { { type = 'view_submission' }, { type = 'block_actions' },
      { type = 'block_actions', actions = { { action_id = 'other' } } }, {} } do
      assert.same({ 200, '' }, { send(form(payload)) }, i)
    end
    slack_inbox.process(engine)
    assert.equal(0,
      engine.store:row("select count(*) as n from slack_clicks where state = 'waiting'").n)
  end)

  it('is not there without a signing secret, and 503 where it cannot be read', function()
    local engine, _, send = world()
    local path = engine.config.slack.signing_secret_file
    engine.config.slack.signing_secret_file = path .. '-gone'
    assert.equal(503, (send 'payload={}'))
    engine.config.slack.signing_secret_file = nil
    assert.equal(404, (send 'payload={}'))
    engine.config.slack = nil
    assert.equal(404, (send 'payload={}'))
  end)

  it('opens nothing else to forms, other names or other pages', function()
    local engine, p, _, form = world()
    engine.config.auth.tokens = { { name = 'a', role = 'admin', token = 'secret-of-a-long' } }
    local handle = routes.handler(engine)
    local request = { method = 'POST', path = '/api/v1/plans/' .. p.id .. '/approve', query = '',
      peer = '127.0.0.1', body = form { digest = p.digest }, headers = { host = '127.0.0.1:9747',
        ['content-type'] = 'application/x-www-form-urlencoded',
        authorization = 'Bearer secret-of-a-long' } }
    assert.equal(415, handle(request).status)
    request.headers.host = 'perigee.example.org'
    assert.equal(403, handle(request).status)
  end)
end)
