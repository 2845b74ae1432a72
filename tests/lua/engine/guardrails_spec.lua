local clock = require 'perigee.clock'
local file = require 'perigee.file'
local guardrails = require 'engine.guardrails'
local plans = require 'engine.plans'
local support = require 'lua.engine.support'

support.still()

local RULES = [[
signal "a" { query = "a", detector = threshold { above = 1 } }
incident "odd" { signals = { "a" }, min_signals = 1 }
local act = { http.request { method = "POST", url = "http://shop/rollback" } }
playbook "free" { when = incident "odd", trust = "auto", plan = act }
playbook "cool" { when = incident "odd", trust = "auto", plan = act, cooldown = "30m" }
playbook "few" { when = incident "odd", trust = "auto", plan = act, limit = { 2, per = "1h" } }
]]

local HTTP = { { url_prefix = 'http://shop/', methods = { 'POST' } } }

local function request(url, more)
  local args = { method = 'POST', url = url or 'http://shop/rollback' }
  for k, v in pairs(more or {}) do args[k] = v end
  return { name = 'http.request', args = args }
end

local VERIFY = { name = 'verify', args = { query = 'x', below = 1, within = '1m' } }

local function world(set)
  local values = { http = HTTP, dry_run = false, cooldown = '0s', max_actions_per_hour = 100 }
  for k, v in pairs(set or {}) do values[k] = v end
  return support.engine { rules = RULES, config = { guardrails = values } }
end

--- A plan as it is before it is begun; kept in the store when it has a state.
local function a_plan(engine, more)
  local p = { id = 'none', playbook = 'free', target = 'shop', trust = 'auto',
    actions = { request() }, expires_at = clock.now() + 900 }
  for k, v in pairs(more or {}) do p[k] = v end
  return p.state and plans.create(engine, p) or p
end

--- An action that another plan has begun.
local function done(engine, target, plan_id, name)
  local other = plan_id or a_plan(engine, { state = 'executed' }).id
  engine.store:exec([[insert into actions (plan_id, position, direction, name, target, state,
    process, started_at) values (?, (select count(*) + 1 from actions), 'forward', ?, ?,
    'succeeded', 'p', ?)]], other, name or 'http.request', target, clock.now())
end

local function gate_of(engine, p, when)
  local refusal = guardrails[when or 'at_start'](engine, p or a_plan(engine), 1)
  return refusal and refusal.gate, refusal and refusal.message
end

local SHOP = 'POST http://shop:80/rollback'

describe('the gates', function()
  after_each(support.tidy)

  it('let a plan pass that nothing speaks against', function()
    local engine = world()
    for _, when in ipairs { 'at_planning', 'at_start', 'between' } do
      assert.is_nil(gate_of(engine, nil, when))
    end
  end)

  it('kill_switch: of the configuration, and as a file, at the start and in between', function()
    local engine = world { kill_switch = true }
    assert.equal('kill_switch', gate_of(engine))
    assert.equal('kill_switch', gate_of(engine, nil, 'between'))
    engine = world()
    local path = guardrails.kill_file(engine.config)
    assert(file.write(path, 'alice\n'))
    assert.equal('kill_switch', gate_of(engine))
    assert.equal('kill_switch', gate_of(engine, nil, 'between'))
    os.remove(path)
    assert.is_nil(gate_of(engine))
  end)

  it('freeze: while a window is open, at the start and in between', function()
    local function utc(seconds)
      return os.date('!%Y-%m-%dT%H:%M:%SZ', math.floor(clock.now()) + seconds)
    end
    local engine = world { freeze = { { from = utc(60), to = utc(120) } } }
    assert.is_nil(gate_of(engine))
    clock.advance(61)
    assert.equal('freeze', (gate_of(engine)))
    assert.equal('freeze', (gate_of(engine, nil, 'between')))
    assert.is_nil(gate_of(engine, nil, 'at_planning'))
  end)

  it('partial_data: what rests on half an answer leads to no action', function()
    local engine = world()
    for _, when in ipairs { 'at_planning', 'at_start' } do
      assert.equal('partial_data', (gate_of(engine, a_plan(engine, { partial = true }), when)))
    end
  end)

  it('not_allowed: nothing is, until the operator names it', function()
    local engine = world { http = {} }
    local gate, message = gate_of(engine, nil, 'at_planning')
    assert.equal('not_allowed', gate)
    assert.matches('action 1: guardrails.http allows no request at all', message, 1, true)
  end)

  it('not_allowed: every action, and what would revert it, must be', function()
    local engine = world()
    local cases = {
      { { request() }, nil },
      { { request 'http://shop/a?b=c' }, nil },
      { { request(), request 'http://other/rollback' }, 'action 2' },
      { { request 'https://shop/rollback' }, 'action 1' },
      { { request 'http://shop:8080/rollback' }, 'action 1' },
      { { request('http://shop/x', { method = 'DELETE' }) }, 'does not allow DELETE' },
      { { request 'http://shop/%2e%2e/admin' }, 'action 1' },
      { { request(nil, { revert = { method = 'POST', url = 'http://shop/deploy' } }) }, nil },
      { { request(nil, { revert = { method = 'POST', url = 'http://other/deploy' } }) },
        'its revert: guardrails.http does not allow POST http://other:80/deploy' },
      { { VERIFY }, nil },
    }
    for i, case in ipairs(cases) do
      for _, when in ipairs { 'at_planning', 'at_start', 'between' } do
        local gate, message = gate_of(engine, a_plan(engine, { actions = case[1] }), when)
        assert.equal(case[2] and 'not_allowed', gate or nil, i)
        if case[2] then assert.matches(case[2], message, 1, true) end
      end
    end
  end)

  it('not_allowed: link-local addresses never, even where a prefix would allow them', function()
    local engine = world { http = { { url_prefix = 'http://169.254.169.254/' } } }
    local p = a_plan(engine, { actions = { request 'http://169.254.169.254/latest' } })
    assert.matches('link%-local', (select(2, gate_of(engine, p))))
  end)

  it('playbook_cooldown: counts what did something or may have, by target', function()
    for _, state in ipairs { 'approved', 'executing', 'executed', 'failed', 'unknown' } do
      local engine = world()
      a_plan(engine, { playbook = 'cool', state = state })
      clock.advance(60)
      local gate, message = gate_of(engine, a_plan(engine, { playbook = 'cool' }), 'at_planning')
      assert.equal('playbook_cooldown', gate)
      assert.matches('cooldown of 30m: 29m left', message, 1, true)
      assert.is_nil(gate_of(engine, a_plan(engine, { playbook = 'cool', target = 'other' })))
      clock.advance(29 * 60)
      assert.is_nil(gate_of(engine, a_plan(engine, { playbook = 'cool' })))
    end
    for _, state in ipairs { 'pending', 'rejected', 'expired', 'superseded', 'dry_run',
      'blocked' } do
      local engine = world()
      a_plan(engine, { playbook = 'cool', state = state })
      assert.is_nil(gate_of(engine, a_plan(engine, { playbook = 'cool' })))
    end
  end)

  it('playbook_limit: so many runs in so long, whatever their targets', function()
    local engine = world()
    a_plan(engine, { playbook = 'few', state = 'executed', target = 'a' })
    clock.advance(1800)
    assert.is_nil(gate_of(engine, a_plan(engine, { playbook = 'few' })))
    a_plan(engine, { playbook = 'few', state = 'failed', target = 'b' })
    local gate, message = gate_of(engine, a_plan(engine, { playbook = 'few' }))
    assert.equal('playbook_limit', gate)
    assert.matches('2 runs in the last 1h, 2 are allowed', message, 1, true)
    clock.advance(1801)
    assert.is_nil(gate_of(engine, a_plan(engine, { playbook = 'few' })))
  end)

  it('max_actions_per_hour: counts actions, not looks, and the plan\'s own too', function()
    local engine = world { max_actions_per_hour = 3 }
    done(engine, 'a')
    done(engine, 'b')
    done(engine, 'c', nil, 'verify')
    assert.is_nil(gate_of(engine, a_plan(engine, { actions = { request(), VERIFY } })))
    local gate, message = gate_of(engine, a_plan(engine, { actions = { request(), request() } }))
    assert.equal('max_actions_per_hour', gate)
    assert.matches('is 3: 2 in the last hour, 2 more wanted', message, 1, true)
    clock.advance(3601)
    assert.is_nil(gate_of(engine, a_plan(engine, { actions = { request(), request() } })))
  end)

  it('max_actions_per_hour: counts what plans under way have yet to do', function()
    local engine = world { max_actions_per_hour = 3 }
    local other = a_plan(engine, { state = 'executing',
      actions = { request(), request(), VERIFY } })
    assert.is_nil(gate_of(engine, a_plan(engine)))
    assert.equal('max_actions_per_hour',
      gate_of(engine, a_plan(engine, { actions = { request(), request() } })))
    done(engine, SHOP, other.id) -- position 1 has begun: it counts once, not twice
    assert.is_nil(gate_of(engine, a_plan(engine, { actions = { request 'http://shop/x' } })))
  end)

  it('max_actions_per_hour: 0 means none', function()
    assert.equal('max_actions_per_hour', gate_of(world { max_actions_per_hour = 0 }))
  end)

  it('target_cooldown: by what is acted on, without what is said to it', function()
    local engine = world { cooldown = '10m' }
    done(engine, SHOP)
    clock.advance(60)
    local gate, message = gate_of(engine)
    assert.equal('target_cooldown', gate)
    assert.matches('10m for POST http://shop:80/rollback: 9m left', message, 1, true)
    assert.equal('target_cooldown', gate_of(engine, a_plan(engine,
      { actions = { request 'http://shop/rollback?now=1' } })))
    assert.is_nil(gate_of(engine, a_plan(engine, { actions = { request 'http://shop/other' } })))
    clock.advance(540)
    assert.is_nil(gate_of(engine))
  end)

  it('target_cooldown: a plan under way that is about to act on it counts', function()
    local engine = world { cooldown = '10m' }
    a_plan(engine, { state = 'executing', actions = { request 'http://shop/first', request() } })
    assert.matches('another plan is about to act on it', (select(2, gate_of(engine))), 1, true)
    assert.is_nil(gate_of(engine, a_plan(engine, { actions = { request 'http://shop/other' } })))
    engine = world { cooldown = '0s' }
    a_plan(engine, { state = 'executing' })
    assert.is_nil(gate_of(engine))
  end)

  it('of a plan do not count the plan itself', function()
    local engine = world { cooldown = '10m', max_actions_per_hour = 1 }
    local p = a_plan(engine, { playbook = 'cool', state = 'approved' })
    done(engine, SHOP, p.id)
    assert.is_nil(gate_of(engine, p))
  end)
end)

describe('rule files', function()
  after_each(support.tidy)

  it('cannot loosen what the operator has set', function()
    local engine = world { cooldown = '10m', max_actions_per_hour = 1 }
    done(engine, SHOP)
    -- "free" has neither cooldown nor limit of its own
    assert.equal('max_actions_per_hour', gate_of(engine))
    engine.config.guardrails.max_actions_per_hour = 100
    assert.equal('target_cooldown', gate_of(engine))
  end)

  it('have no word for the guardrails', function()
    for _, option in ipairs { 'dry_run = false', 'guardrails = {}', 'kill_switch = false' } do
      local ok, message = pcall(support.rules, RULES .. ('playbook "p" { when = incident "odd", '
        .. 'plan = act, %s }'):format(option))
      assert.is_false(ok)
      assert.matches('unknown option', message, 1, true)
    end
  end)
end)
