local file = require 'perigee.file'
local http = require 'http'
local json = require 'json'
local slack = require 'slack'

-- How long is waited between two attempts http_spec tells; here it is not at all.
local random = math.random
setup(function() rawset(math, 'random', function() return 0 end) end)
teardown(function() rawset(math, 'random', random) end)

local folder, bot, app
setup(function()
  folder = assert(file.temporary_folder 'perigee-slack')
  bot, app = folder .. '/bot', folder .. '/app'
  assert(file.write(bot, 'xoxb-first\n'))
  assert(file.write(app, 'xapp-one\n'))
end)
teardown(function() os.execute(("rm -rf '%s'"):format(folder)) end)

local function says(value, status, headers)
  return { status = status or 200, headers = headers, body = json.encode(value) }
end

--- A Slack that gives the answers in turn, the last for ever. Runs f with a client of it and what
--- it was asked.
local function with_answers(answers, f, options)
  local asked = {}
  local server <close> = setmetatable({ http = assert(http.serve({}, function(request)
    asked[#asked + 1] = request
    local answer = answers[math.min(#asked, #answers)]
    return type(answer) == 'function' and answer(request) or answer
  end)) }, { __close = function(s) s.http:close() end })
  local o = { api_url = ('http://127.0.0.1:%d/api/'):format(server.http:port()),
    bot_token_file = bot, app_token_file = app }
  for k, v in pairs(options or {}) do o[k] = v end
  f(slack.client(o), asked)
end

local function failure(options)
  local ok, message = pcall(function()
    local c = slack.client(options)
    return c
  end)
  assert.is_false(ok)
  return message:match '^tests/lua/slack_spec.lua:%d+: slack.client: (.*)$'
end

describe('slack client:call', function()
  it('posts JSON with its charset and a bearer token, and gives the answer', function()
    with_answers({ says { ok = true, channel = 'C1', ts = '1700000000.000100' } },
      function(c, asked)
        local answer = assert(c:call('chat.postMessage', { channel = '#ops', text = 'ü' }))
        assert.equal('1700000000.000100', answer.ts)
        assert.equal('POST', asked[1].method)
        assert.equal('/api/chat.postMessage', asked[1].path)
        assert.equal('application/json; charset=utf-8', asked[1].headers['content-type'])
        assert.equal('Bearer xoxb-first', asked[1].headers.authorization)
        assert.same({ channel = '#ops', text = 'ü' }, json.decode(asked[1].body))
      end)
  end)

  it('opens connections with the token of the app, in the header alone', function()
    with_answers({ says { ok = true, url = 'wss://x' } }, function(c, asked)
      assert(c:call 'apps.connections.open')
      assert.equal('Bearer xapp-one', asked[1].headers.authorization)
      assert.equal('{}', asked[1].body)
    end)
  end)

  it('reads a token anew when its file has changed, and sends nothing without one', function()
    with_answers({ says { ok = true } }, function(c, asked)
      assert(c:call 'auth.test')
      assert(file.write(bot, 'xoxb-second\n'))
      assert(c:call 'auth.test')
      assert.equal('Bearer xoxb-second', asked[2].headers.authorization)
      os.remove(bot)
      local answer, why = c:call 'auth.test'
      assert.is_nil(answer)
      assert.equal('no_token', why.error)
      assert.is_false(why.transient)
      assert.equal(2, #asked)
      assert(file.write(bot, 'xoxb-first\n'))
    end)
  end)

  it('tells what Slack says is wrong, and does not try that again', function()
    with_answers({ says { ok = false, error = 'invalid_blocks',
      response_metadata = { messages = { 'must be less than 3001\ncharacters' } } } },
      function(c, asked)
        local answer, why = c:call('chat.postMessage', {})
        assert.is_nil(answer)
        assert.same({ error = 'invalid_blocks', transient = false, uncertain = false,
          message = 'chat.postMessage: invalid_blocks; must be less than 3001 characters' }, why)
        assert.equal(1, #asked)
      end)
    with_answers({ says { ok = false, error = 'missing_scope', needed = 'chat:write' } },
      function(c)
        assert.equal('auth.test: missing_scope; needs chat:write',
          select(2, c:call 'auth.test').message)
      end)
  end)

  it('repeats what can be done twice', function()
    with_answers({ says { ok = false, error = 'internal_error' }, { status = 503, body = 'busy' },
      says { ok = true, n = 3 } }, function(c, asked)
      assert.equal(3, c:call('chat.update', {}).n)
      assert.equal(3, #asked)
    end)
    with_answers({ says { ok = false, error = 'service_unavailable' } }, function(c, asked)
      local _, why = c:call 'auth.test'
      assert.is_true(why.transient)
      assert.equal(4, #asked)
    end)
  end)

  it('never posts a message again that may be there already', function()
    for _, answer in ipairs { says { ok = false, error = 'fatal_error' },
      { status = 502, body = '<html>' } } do
      with_answers({ answer }, function(c, asked)
        local _, why = c:call('chat.postMessage', {})
        assert.is_true(why.transient and why.uncertain)
        assert.equal(1, #asked)
      end)
    end
    local _, why = slack.client({ api_url = 'http://127.0.0.1:1', bot_token_file = bot })
      :call('chat.postMessage', {})
    assert.equal('connection', why.error)
    assert.is_true(why.transient)
    assert.is_false(why.uncertain)
  end)

  it('waits as long as Slack asks, for that method alone, before anything is sent again', function()
    local at = {}
    with_answers({ function(request)
      at[#at + 1] = require('perigee.clock').monotonic()
      if #at == 1 then return { status = 429, headers = { ['Retry-After'] = '1' } } end
      return says { ok = true, path = request.path }
    end }, function(c)
      local update = require('async').spawn(function() return c:call('chat.update', {}) end)
      require('async').sleep(0.2)
      assert(c:call 'auth.test') -- goes through meanwhile
      assert.equal(2, #at)
      assert.equal('/api/chat.update', update:await(5).path)
      assert.is_true(at[3] - at[1] >= 0.99)
    end)
  end)

  it('does not wait for minutes; the caller is told how long, and nothing is sent till then',
    function()
      with_answers({ { status = 429, headers = { ['Retry-After'] = '600' } } }, function(c, asked)
        for _ = 1, 2 do
          local _, why = c:call('chat.postMessage', {})
          assert.equal('ratelimited', why.error)
          assert.is_true(why.retry_after > 590 and why.transient and not why.uncertain)
        end
        assert.equal(1, #asked)
      end)
    end)

  it('is not led astray by an answer that is none', function()
    for _, body in ipairs { '', 'ok', '[]', '{"ok":"yes"}', '<html>' } do
      with_answers({ { status = 200, body = body } }, function(c, asked)
        local answer, why = c:call('chat.postMessage', {})
        assert.is_nil(answer)
        assert.equal('chat.postMessage: status 200 instead of an answer', why.message)
        assert.equal(1, #asked)
      end)
    end
  end)
end)

describe('slack.client', function()
  it('refuses options that are wrong, at the line that called', function()
    assert.equal('option "bot_token_file" is missing', failure {})
    assert.equal('api_url: expected an https address; http only on loopback, '
      .. 'not "http://slack.example/api"',
      failure { bot_token_file = bot, api_url = 'http://slack.example/api' })
    assert.equal('api_url: expected an https address; http only on loopback, '
      .. 'not "http://127.0.0.1.evil.example"',
      failure { bot_token_file = bot, api_url = 'http://127.0.0.1.evil.example' })
  end)

  it('has the section of perigee.yaml beside it', function()
    local check = require 'check'
    local values, problems = check.apply({ bot_token_file = bot, channel = '#störung',
      approvers = { 'U12345' }, listen = '0.0.0.0:8080' }, slack.SECTION)
    assert.same({}, problems)
    assert.equal(8080, values.listen.port)
    assert.equal(1, values.socket_mode.connections)
    problems = select(2, check.apply({ bot_token_file = bot, channel = '#ops',
      approvers = { 'alice' }, user_groups = { 'U1' }, socket_mode = { connections = 3 } },
      slack.SECTION))
    assert.equal(3, #problems)
    assert.equal('approvers[1]: expected a user\'s id such as U0123ABCD, not "alice"',
      check.words(problems[1]))
  end)
end)
