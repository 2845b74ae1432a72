--- Approvals in Slack over HTTP, from the trigger to the message that says what came of it; the
--- program is killed on the way.
local async = require 'async'
local clock = require 'perigee.clock'
local fake = require 'fakes.prometheus'
local hash = require 'perigee.hash'
local http = require 'http'
local json = require 'json'
local testing = require 'testing.world'
local world = require 'e2e.world'

local SECRET <const> = 'the-signing-secret'
local ROUNDS <const> = os.getenv 'SOAK' and 100 or 3
local SEED <const> = 20260101

--- A Slack that keeps what it is told. answer(method, args) may answer in its place.
local function serve_slack()
  local slack = { calls = {}, n = 0 }
  local server = assert(http.serve({}, function(request)
    local args, method = json.decode(request.body), request.path:match '[^/]+$'
    if method ~= 'auth.test' then slack.n = slack.n + 1 end
    slack.calls[#slack.calls + 1] = { method = method, args = args,
      ts = ('1700000000.%06d'):format(slack.n), authorization = request.headers.authorization }
    return { headers = { ['Content-Type'] = 'application/json' }, body = json.encode { ok = true,
      channel = 'C024BE91L', ts = ('1700000000.%06d'):format(slack.n), team_id = 'T061EG9R6',
      message = { app_id = 'A1' }, messages = json.array() } }
  end))
  slack.url = ('http://127.0.0.1:%d/api'):format(server:port())
  function slack.close() server:close() end

  function slack.last(method)
    for i = #slack.calls, 1, -1 do
      if slack.calls[i].method == method then return slack.calls[i] end
    end
  end
  return slack
end

local function click(port, message, ts, user, action)
  local value
  for _, block in ipairs(message.blocks) do
    for _, element in ipairs(block.elements or {}) do
      if element.action_id == action then value = element.value end
    end
  end
  local body = http.form { payload = json.encode { type = 'block_actions', api_app_id = 'A1',
    trigger_id = hash.random(8), team = { id = 'T061EG9R6' }, user = { id = user },
    channel = { id = 'C024BE91L' },
    container = { type = 'message', message_ts = ts, channel_id = 'C024BE91L' },
    actions = { { type = 'button', action_id = action, value = value } } } }
  local at = ('%d'):format(math.floor(clock.now()))
  return http.request { method = 'POST', body = body,
    url = ('http://127.0.0.1:%d/slack/interactions'):format(port),
    headers = { ['Content-Type'] = 'application/x-www-form-urlencoded',
      Host = 'perigee.example.org', ['X-Slack-Request-Timestamp'] = at,
      ['X-Slack-Signature'] = 'v0='
        .. hash.hmac_sha256(SECRET, ('v0:%s:%s'):format(at, body)) } }
end

describe('a plan in Slack, over HTTP', function()
  local w, source, slack

  before_each(function() w, source, slack = world.new(), fake.serve(), serve_slack() end)
  after_each(function()
    w:close()
    source.close()
    slack.close()
  end)

  it('is approved by two people, survives kill -9 on the way, and says what came of it', function()
    local done = 0
    local shop = assert(http.serve({}, function()
      done = done + 1
      return { status = 200 }
    end))
    local public = testing.free_port()
    source.values.x = 9
    for name, text in pairs { bot = 'xoxb-1', signing = SECRET } do
      w:write('perigee/' .. name, text .. '\n')
    end
    local p = w:perigee { source = source.url, tokens = { admin = 'admin' }, rules = {
      ['x.lua'] = ([[
        signal "x" { query = "x", every = "1s", detector = threshold { above = 5 } }
        incident "odd" { signals = { "x" }, min_signals = 1 }
        playbook "act" { when = incident "odd", trust = "human_approve",
          plan = { http.request { method = "POST", url = "http://127.0.0.1:%d/fix" } } }]]):format(
        shop:port()) },
      config = ([[
guardrails: { dry_run: false, http: [ { url_prefix: "http://127.0.0.1:%d/" } ] }
approvals: { quorum: 2, group: sre, groups: { sre: [U1, U2] } }
slack:
  api_url: "%s"
  bot_token_file: bot
  signing_secret_file: signing
  channel: "#incidents"
  approvers: [U1, U2, U3]
  listen: 127.0.0.1:%d
]]):format(shop:port(), slack.url, public) }
    local post = p:wait_for('the message', 15, function() return slack.last 'chat.postMessage' end)
    assert.equal('Bearer xoxb-1', post.authorization)
    assert.equal('#incidents', post.args.channel)
    local id = p:get('/api/v1/approvals')[1].id
    local ts
    p:wait_for('the message to be noted', 15, function()
      ts = '1700000000.000001'
      return p:metric 'perigee_slack_messages_total{kind="plan",outcome="sent"}' == 1
    end)

    -- Only the one path is there from outside, and only signed.
    for _, path in ipairs { '/', '/metrics', '/api/v1/plans', '/-/healthy' } do
      assert.equal(404, http.get(('http://127.0.0.1:%d%s'):format(public, path)).status, path)
    end
    assert.equal(401, http.request { method = 'POST', body = 'payload={}',
      url = ('http://127.0.0.1:%d/slack/interactions'):format(public),
      headers = { ['Content-Type'] = 'application/x-www-form-urlencoded' } }.status)

    local function press(user, action)
      local response = click(public, post.args, ts, user, action or 'approve_remediation')
      assert.same({ 200, '' }, { response.status, response.body })
    end
    press 'U9'
    press 'U3'
    press 'U1'
    p:wait_for('one approval', 15, function()
      return p:get('/api/v1/plans/' .. id).approvals.given == 1
    end)
    p:stop(9)
    p:start()
    press 'U1'
    press 'U2'
    p:wait_for('the end', 15, function()
      return p:get('/api/v1/plans/' .. id).state == 'executed'
    end)
    local update = p:wait_for('the update', 15, function()
      local last = slack.last 'chat.update'
      return last and json.encode(last.args.blocks):find 'executed' and last
    end)
    assert.same({ 'C024BE91L', ts }, { update.args.channel, update.args.ts })
    assert.is_nil(json.encode(update.args.blocks):find('approve_remediation', 1, true))
    assert.equal(1, done)
    local refused = {}
    p:wait_for('the audit trail', 15, function()
      refused = {}
      for _, r in ipairs(p:get('/api/v1/audit').records) do
        if r.kind == 'click_refused' then refused[#refused + 1] = r.who end
      end
      return #refused == 3
    end)
    assert.same({ 'U9', 'U3', 'U1' }, refused)
    assert.equal(0, p:stop())
    shop:close()
  end)

  it('loses no click that was acknowledged and counts none twice, however it ends', function()
    local done = {}
    local shop = assert(http.serve({}, function(request)
      done[request.path] = (done[request.path] or 0) + 1
      return { status = 200 }
    end))
    for name, text in pairs { bot = 'xoxb-1', signing = SECRET } do
      w:write('perigee/' .. name, text .. '\n')
    end
    local p = w:perigee { source = source.url, tokens = { admin = 'admin' }, rules = {
      ['x.lua'] = ([[
        playbook "act" { when = metric { query = "x", every = "1s" }, trust = "human_approve",
          plan = function(event) return { http.request { method = "POST",
            url = "http://127.0.0.1:%d/" .. (event.labels.n or "") } } end }]]):format(
        shop:port()) },
      config = ([[
guardrails: { dry_run: false, cooldown: 0s, max_actions_per_hour: 1000,
  breaker: { failures: 999 },
  http: [ { url_prefix: "http://127.0.0.1:%d/" } ] }
approvals: { quorum: 2 }
slack: { api_url: "%s", bot_token_file: bot, signing_secret_file: signing, channel: C024BE91L,
  approvers: [U1, U2] }
]]):format(shop:port(), slack.url) }

    --- The message about a plan, once it is noted that it is posted.
    local function message(id)
      for i, call in ipairs(slack.calls) do
        local metadata = call.method == 'chat.postMessage' and call.args.metadata
        if metadata and metadata.event_payload.key == 'plan/' .. id then return call, i end
      end
    end

    math.randomseed(SEED)
    for round = 1, ROUNDS do
      source.values.x = { { labels = { n = ('r%d'):format(round) }, value = 1 } }
      local id = p:wait_for('a plan', 20, function()
        local waiting = p:get('/api/v1/approvals')[1]
        return waiting and waiting.id
      end)
      local post = p:wait_for('its message', 20, function() return message(id) end)
      for _, user in ipairs { 'U1', 'U2' } do
        p:wait_for('an acknowledgement', 20, function()
          local response = click(p.port, post.args, post.ts, user, 'approve_remediation')
          return response and response.status == 200
        end)
        async.sleep(math.random() * 0.03)
        p:stop(9)
        p:start()
      end
      local plan = p:wait_for('the end', 20, function()
        local now = p:get('/api/v1/plans/' .. id)
        return (now.state == 'executed' or now.state == 'unknown') and now
      end)
      local who = {}
      for i, d in ipairs(plan.decisions) do who[i] = d.who end
      assert.same({ 'U1', 'U2' }, who, plan.id)
      local n = done[('/r%d'):format(round)] or 0
      assert.is_true(n == 1 or n == 0 and plan.state == 'unknown', ('%d: %s, %d times'):format(
        round, plan.state, n))
    end
    assert.equal(0, p:cli('admin', 'audit', '--verify'))
    shop:close()
  end)

  it('comes by another address after a reload, and by none after the next', function()
    for name, text in pairs { bot = 'xoxb-1', signing = SECRET } do
      w:write('perigee/' .. name, text .. '\n')
    end
    local one, two = testing.free_port(), testing.free_port()
    local function config(listen)
      return ('slack: { api_url: "%s", bot_token_file: bot, signing_secret_file: signing, '
        .. 'channel: C1%s }\n'):format(slack.url, listen and ', listen: "127.0.0.1:'
        .. listen .. '"' or '')
    end
    local p = w:perigee { tokens = { admin = 'admin' }, config = config(one) }
    local function there(port)
      local response = http.get(('http://127.0.0.1:%d/slack/interactions'):format(port),
        { retries = 0 })
      return response and response.status
    end
    assert.same({ 405, nil }, { there(one), there(two) })
    p:set_config(config(two))
    assert.equal(200, p:request('POST', '/-/reload', nil, 'admin').status)
    assert.same({ nil, 405 }, { there(one), there(two) })
    p:set_config(config(nil))
    assert.equal(200, p:request('POST', '/-/reload', nil, 'admin').status)
    assert.same({}, { there(one), there(two) })
    assert.equal(405, there(p.port))
    assert.equal(0, p:stop())
  end)
end)
