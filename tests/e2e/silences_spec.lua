--- Silences of a real Alertmanager: respected before acting, and made as an action.
local alertmanager = require 'alertmanager'
local clock = require 'perigee.clock'
local fake = require 'fakes.prometheus'
local http = require 'http'
local silence_action = require 'actions.alertmanager_silence'
local world = require 'e2e.world'

local w, am, client
setup(function()
  w = world.new()
  am = w:alertmanager 'http://127.0.0.1:1/'
  client = alertmanager.client { url = am }
end)
teardown(function() w:close() end)

local function raise(labels)
  assert(client:post { { labels = labels, startsAt = clock.text(clock.now()) } })
  w:wait_for('the alert', 10, function() return #assert(client:alerts(labels)) > 0 end)
end

describe('alertmanager.silence', function()
  local ARGS = { matchers = { alertname = 'Noisy "one"\n', app = 'a\\b' }, duration = 3600,
    comment = 'until the disk is replaced' }

  local function context(key, before)
    return { alertmanager = client, key = key, purpose = 'run', before = before }
  end

  it('tells what it would silence, is made once, found again, and ended', function()
    raise(ARGS.matchers)
    local seen = assert(silence_action.preview(ARGS, context 'plan-1-1-forward'))
    assert.matches('for 1h: 1 alerts now$', seen.summary)
    assert.matches('Noisy', seen.diff)
    assert.is_nil(seen.nothing)
    local before = context('plan-1-1-forward', seen.before)
    assert.equal('not_done', silence_action.find_out(ARGS, before).result)
    local done = silence_action.run(ARGS, before)
    assert.equal('succeeded', done.result)
    assert.equal(done.silence, silence_action.find_out(ARGS, before).silence)
    local made
    for _, s in ipairs(assert(client:silences())) do made = s.id == done.silence and s or made end
    assert.equal('perigee', made.createdBy)
    assert.equal('until the disk is replaced [plan-1-1-forward]', made.comment)
    assert.is_true(alertmanager.is_about(made, ARGS.matchers))
    -- Another of the same labels is of no use while this one lasts.
    seen = assert(silence_action.preview(ARGS, context 'plan-2-1-forward'))
    assert.is_truthy(seen.nothing)
    assert.equal('succeeded', silence_action.revert(ARGS, before).result)
    assert.matches('over already', silence_action.revert(ARGS, before).message)
    assert.is_nil(assert(silence_action.preview(ARGS, context 'plan-2-1-forward')).nothing)
    assert.equal('failed', silence_action.revert(ARGS, context('x', { key = 'other' })).result)
  end)

  it('that Alertmanager refuses has failed', function()
    local args = { matchers = { a = 'b' }, duration = -3600, comment = 'x' }
    assert.equal('failed', silence_action.run(args, context('k', { key = 'k' })).result)
    local away = alertmanager.client { url = 'http://127.0.0.1:1' }
    assert.equal('failed', silence_action.run(ARGS, { alertmanager = away,
      before = { key = 'k' } }).result)
    local _, failure = silence_action.preview(ARGS, { alertmanager = away, key = 'k' })
    assert.is_true(failure.transient)
  end)
end)

describe('a plan', function()
  local RULES = [[
playbook "act" { when = metric { query = "x", every = "1s" }, trust = "auto",
  plan = { http.request { method = "POST", url = "SHOP" } } }
]]

  --- Perigee with an odd series, and how often the shop was called.
  local function perigee(name, url)
    local source, calls = fake.serve(), 0
    local shop = assert(http.serve({}, function()
      calls = calls + 1
      return {}
    end))
    local at = ('http://127.0.0.1:%d/'):format(shop:port())
    source.values.x = { { labels = { app = name }, value = 9 } }
    local p = w:perigee { name = name, source = source.url, tokens = { admin = 'admin' },
      rules = { ['act.lua'] = (RULES:gsub('SHOP', at)) },
      config = ('guardrails: { dry_run: false, http: [ { url_prefix: "%s" } ] }\n'
        .. 'alertmanager: { url: "%s", timeout: 1s }\n'):format(at, url) }
    local found = w:wait_for('a plan that has ended', 20, function()
      local one = p:get '/api/v1/plans'[1]
      return one and (one.state == 'blocked' or one.state == 'executed') and one
    end)
    p:stop()
    shop:close()
    source.close()
    return found, calls
  end

  it('does nothing where somebody has silenced it, and says who and until when', function()
    local now = clock.now()
    local id = assert(client:silence { matchers = { { name = 'app', value = 'cart.*',
      isRegex = true, isEqual = true } }, startsAt = clock.text(now), createdBy = 'anna',
      endsAt = clock.text(now + 600), comment = 'moving' })
    local plan, calls = perigee('cart', am)
    assert.equal('blocked', plan.state)
    assert.equal(('act is silenced by anna until %s (silence %s: moving)'):format(
      clock.text(now + 600), id), plan.reason)
    assert.equal(0, calls)
    plan, calls = perigee('shop', am)
    assert.equal('executed', plan.state)
    assert.equal(1, calls)
  end)

  it('does nothing by itself where Alertmanager cannot be asked', function()
    local plan, calls = perigee('other', 'http://127.0.0.1:1')
    assert.equal('blocked', plan.state)
    assert.matches('^the silences of Alertmanager are not known: ', plan.reason)
    assert.equal(0, calls)
  end)
end)
