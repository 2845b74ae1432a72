local approvals = require 'engine.approvals'
local audit = require 'engine.audit'
local clock = require 'perigee.clock'
local faults = require 'engine.faults'
local guardrails = require 'engine.guardrails'
local journal = require 'engine.journal'
local json = require 'perigee.json'
local levels = require 'levels'
local plans = require 'engine.plans'
local support = require 'lua.engine.support'
local trust = require 'engine.trust'

support.still()

local RULES = [[
signal "a" { query = "a", detector = threshold { above = 1 } }
incident "odd" { signals = { "a" }, min_signals = 1, group_by = { "app" } }
local act = { http.request { method = "POST", url = "http://shop/x" } }
playbook "by_itself" { when = incident "odd", trust = "auto", plan = act }
playbook "asks" { when = incident "odd", trust = "human_approve", plan = act }
playbook "shows" { when = incident "odd", trust = "recommend", plan = act }
]]

local REQUEST = { name = 'http.request', args = { method = 'POST', url = 'http://shop/x' } }
local VERIFY = { name = 'verify', args = { query = 'x', below = 1, within = '1m' } }
local function restart(namespace)
  return { name = 'kubernetes.restart', args = { namespace = namespace, pod = 'a' } }
end

local function world(rules, ceiling, more)
  local values = { http = { { url_prefix = 'http://shop/' } }, dry_run = false, cooldown = '0s',
    trust = ceiling }
  for k, v in pairs(more or {}) do values[k] = v end
  return support.engine { rules = RULES .. (rules or ''), config = { guardrails = values } }
end

local function of(engine, playbook, more)
  local p = { id = 'plan-new', playbook = playbook or 'by_itself', target = 'shop',
    actions = { REQUEST }, previews = {} }
  for k, v in pairs(more or {}) do p[k] = v end
  local level, reason = trust.of(engine, engine.rules.playbooks[p.playbook], p)
  return level, reason, p.story.trust
end

--- Only the level and the reason.
local function told(...)
  local level, reason = of(...)
  return { level, reason }
end

--- A plan of a playbook that is being carried out.
local function running(engine, playbook, more)
  local o = { playbook = playbook or 'by_itself', target = 'shop', trust = 'auto',
    actions = { REQUEST, VERIFY }, state = 'executing', expires_at = clock.now() + 900 }
  for k, v in pairs(more or {}) do o[k] = v end
  return plans.create(engine, o)
end

--- One of its actions comes to an end.
local function ends(engine, p, position, state, message)
  journal.begin(engine, p, position, 'forward', p.actions[position])
  journal.note(engine, p, position, 'forward', p.actions[position], state,
    { message = message or state })
end

describe('trust', function()
  after_each(support.tidy)

  it('is what the playbook says, where nothing takes any away', function()
    local engine = world()
    assert.same({ 'auto' }, told(engine))
    assert.same({ 'human_approve' }, told(engine, 'asks'))
    assert.same({ 'recommend' }, told(engine, 'shows'))
    local steps = select(3, of(engine))
    assert.same({ 'auto', 'auto' }, { steps.from, steps.to })
    assert.equal('rules.lua:4 says auto', steps.steps[1].message)
  end)

  it('is never more than the operator\'s ceiling', function()
    local engine = world('', { max = 'human_approve' })
    assert.same({ 'human_approve',
      'trust lowered from auto: guardrails.trust.max is human_approve' }, told(engine))
    assert.equal('recommend', (of(engine, 'shows')))
    engine = world('', { playbooks = { by_itself = 'recommend' } })
    assert.same({ 'recommend',
      'trust lowered from auto: guardrails.trust.playbooks.by_itself is recommend' },
      told(engine))
    assert.equal('human_approve', (of(engine, 'asks')))
    engine = world('', { max = 'recommend', playbooks = { by_itself = 'auto' } })
    assert.equal('recommend', (of(engine))) -- of several the lowest
  end)

  it('is bound by the namespaces that the plan acts in', function()
    local engine = world('', { namespaces = { pay = 'human_approve', vault = 'manual_only' } })
    assert.equal('auto', (of(engine, nil, { actions = { restart 'shop' } })))
    local level, reason = of(engine, nil, { actions = { restart 'shop', restart 'pay' } })
    assert.equal('human_approve', level)
    assert.matches('guardrails.trust.namespaces.pay is human_approve', reason, 1, true)
    assert.equal('manual_only', (of(engine, nil, { actions = { restart 'vault' } })))
    assert.equal('auto', (of(engine)))
    engine.config.guardrails.trust = { max = 'auto', playbooks = { ['by_*'] = 'recommend' },
      namespaces = { ['pay-*'] = 'manual_only' } }
    assert.equal('recommend', (of(engine)))
    assert.equal('human_approve', (of(engine, 'asks')))
    assert.equal('manual_only', (of(engine, nil, { actions = { restart 'pay-eu' } })))
  end)

  it('that is auto becomes recommend where somebody else sees to the object', function()
    local engine = world()
    local seen = { previews = { { owner = 'argocd owns spec.replicas' } } }
    assert.same({ 'recommend', 'trust lowered from auto: argocd owns spec.replicas' },
      told(engine, nil, seen))
    assert.equal('human_approve', (of(engine, 'asks', seen)))
  end)

  it('is a person\'s after an outcome that nobody knows, of playbook or object', function()
    local engine = world()
    local p = running(engine, 'by_itself', { state = 'unknown' })
    assert.same({ 'human_approve',
      ('trust lowered from auto: the outcome of %s is unknown'):format(p.id) }, told(engine))
    assert.equal('auto', (of(engine, nil, { target = 'cart' })))

    engine = world()
    p = running(engine, 'asks')
    ends(engine, p, 1, 'unknown')
    engine.store:exec "update plans set state = 'unknown'"
    assert.same({ 'human_approve', ('trust lowered from auto: the outcome of %s on POST '
      .. 'http://shop:80/x is unknown'):format(p.id) }, told(engine, nil, { target = 'cart' }))
    clock.advance(1)
    ends(engine, running(engine, 'asks'), 1, 'succeeded')
    assert.equal('auto', (of(engine, nil, { target = 'cart' })))
  end)
end)

describe('trust that is lost', function()
  after_each(support.tidy)

  it('is lost when a verification fails, and asks a person until one restores it', function()
    local engine = world()
    local p = running(engine)
    ends(engine, p, 1, 'succeeded')
    assert.equal('auto', (of(engine)))
    ends(engine, p, 2, 'failed', 'verification failed within 1m: 5 is not below 1')
    local level, reason = of(engine)
    assert.equal('human_approve', level)
    assert.matches(('trust was lost by %s: verification failed within 1m: 5 is not below 1, at '
      .. '2023-'):format(p.id), reason, 1, true)
    assert.equal('human_approve', (of(engine, 'by_itself', { target = 'elsewhere' })))
    assert.equal('human_approve', (of(engine, 'asks')))
    clock.advance(30 * 86400) -- time alone does not bring it back
    assert.equal('human_approve', (of(engine)))
    assert.is_true(trust.restore(engine, 'by_itself', 'alice'))
    assert.equal('auto', (of(engine)))
    assert.is_false(trust.restore(engine, 'by_itself', 'alice'))
    local kinds = table.concat(support.kinds(engine), ' ')
    assert.matches('action_failed trust_lost trust_restored$', kinds)
    local records = audit.list(engine.store, 0, 100)
    assert.equal('alice', records[#records].who)
    assert.equal('by_itself', records[#records].playbook)
  end)

  it('is not lost by anything else', function()
    local engine = world('', nil, { breaker = { failures = 100 } })
    local p = running(engine)
    ends(engine, p, 1, 'failed')
    ends(engine, running(engine), 2, 'succeeded')
    assert.equal('auto', (of(engine)))
  end)

  it('is lost and given back playbook by playbook', function()
    local engine = world()
    ends(engine, running(engine), 2, 'failed')
    local list = trust.list(engine)
    assert.same({ 'asks', 'by_itself', 'shows' },
      { list[1].playbook, list[2].playbook, list[3].playbook })
    assert.same({ 'auto', 'auto', 'human_approve' },
      { list[2].declared, list[2].ceiling, list[2].effective })
    assert.truthy(list[2].lost_at)
    assert.matches('perigee trust restore', list[2].reason, 1, true)
    assert.is_nil(list[1].reason)
    assert.is_false(trust.restore(engine, 'asks', 'alice'))
  end)

  it('stops plans that were made before it was lost, approved ones too', function()
    local engine = world()
    local p = running(engine, 'by_itself', { state = 'approved', actions = { REQUEST } })
    assert.is_nil(guardrails.at_start(engine, p))
    ends(engine, running(engine, 'by_itself', { target = 'else' }), 2, 'failed')
    local refusal = guardrails.at_start(engine, p)
    assert.equal('trust', refusal.gate)
    assert.matches('the playbook\'s trust is now human_approve, and the plan was made with auto: '
      .. 'trust lowered from auto: trust was lost by', refusal.message, 1, true)
    assert.is_nil(guardrails.at_start(engine, running(engine, 'asks',
      { state = 'approved', trust = 'human_approve', actions = { REQUEST } })))
  end)

  it('and a ceiling that was lowered stop them alike, and a playbook that is gone', function()
    local engine = world()
    local p = running(engine, 'asks', { state = 'approved', trust = 'human_approve' })
    engine.config.guardrails.trust.max = 'recommend'
    assert.matches('trust is now recommend, and the plan was made with human_approve',
      guardrails.at_start(engine, p).message, 1, true)
    engine.config.guardrails.trust.max = 'auto'
    engine.rules.playbooks.asks = nil
    assert.equal('its playbook is declared no more', guardrails.at_start(engine, p).message)
  end)
end)

describe('trust.policy', function()
  after_each(support.tidy)

  local function policy(body)
    return ('trust.policy(function(plan, incident) %s end)\n'):format(body)
  end

  it('lowers trust, and says why', function()
    local engine = world(policy 'return "human_approve", "it is Friday"')
    local level, reason, story = of(engine)
    assert.equal('human_approve', level)
    assert.equal('trust lowered from auto: policy rules.lua:7: it is Friday', reason)
    local last = story.steps[#story.steps]
    assert.same({ 'policy', 'human_approve', true }, { last.by, last.level, last.lowered })
  end)

  it('may say nothing, and a level without a reason', function()
    assert.equal('auto', (of(world(policy ''))))
    assert.equal('trust lowered from auto: policy rules.lua:7 says recommend',
      select(2, of(world(policy 'return "recommend"'))))
  end)

  it('never raises it: that is ignored, and told', function()
    local engine = world(policy 'return "auto", "I trust it"', { max = 'human_approve' })
    assert.equal('recommend', (of(engine, 'shows')))
    local level, _, story = of(engine)
    assert.equal('human_approve', level)
    local last = story.steps[#story.steps]
    assert.equal('policy rules.lua:7: I trust it; more than human_approve it cannot give',
      last.message)
    assert.is_false(last.lowered)
  end)

  it('of several, of several files, the lowest wins', function()
    local engine = support.engine { rules = { ['a.lua'] = RULES .. policy 'return "recommend"'
      .. policy 'return "auto"', ['b.lua'] = policy 'return "human_approve"' },
      config = { guardrails = { http = { { url_prefix = 'http://shop/' } } } } }
    assert.equal('recommend', (of(engine)))
  end)

  it('sees the plan and the incident', function()
    local engine = world(policy [[
      if plan.playbook == "by_itself" and plan.trust == "auto" and plan.target == "shop"
        and plan.actions[1].name == "http.request" and plan.actions[1].args.url == "http://shop/x"
        and plan.actions[1].unavailable == 2 and plan.actions[1].replicas == 5 and not plan.partial
        and incident.name == "odd" and incident.labels.app == "shop" then
        return "recommend", "seen"
      end]])
    engine.store:exec([[insert into incidents (id, name, group_key, state, opened_at, updated_at,
      data) values ('inc-1', 'odd', 'shop', 'open', 1, 1, ?)]],
      json.encode { labels = { app = 'shop' }, anomalies = json.array(), recommendation = '' })
    assert.equal('recommend', (of(engine, nil, { incident_id = 'inc-1',
      previews = { { unavailable = 2, replicas = 5, ready = 5 } } })))
  end)

  it('that fails leaves it to a person, is told, and after three faults is not called', function()
    local engine = world(policy 'return incident.labels.app')
    for _ = 1, 3 do
      local level, reason = of(engine)
      assert.equal('human_approve', level)
      assert.matches('a policy has failed: .*rules.lua:7: .*nil value', reason)
    end
    assert.matches('switched off after 3 faults', faults.switched_off(engine.store,
      'policy/rules.lua:7', engine.rules.policies['rules.lua:7'].file_digest), 1, true)
    local level, reason = of(engine)
    assert.equal('human_approve', level)
    assert.matches('a policy is switched off after 3 faults', reason, 1, true)
  end)

  it('that returns no level, or costs too much, has failed', function()
    for _, body in ipairs { 'return "full"', 'return true', 'return { "auto" }',
      'while true do end', 'error "x"' } do
      local level, reason = of(world(policy(body)))
      assert.equal('human_approve', level, body)
      assert.matches('a policy has failed', reason, 1, true)
    end
    local _, reason = of(world(policy 'return "full"'))
    assert.matches('trust.policy returned: expected nothing, or one of auto, human_approve, '
      .. 'recommend, manual_only, not "full"', reason, 1, true)
  end)

  it('is told where it stands, and takes one function', function()
    for text, words in pairs { ['trust.policy "auto"'] = 'takes one function',
      ['trust.policy()'] = 'takes one function', ['trust.polcy(print)'] = 'did you mean',
      ['trust.policy(print, 1)'] = 'takes one function' } do
      local ok, message = pcall(support.rules, text)
      assert.is_false(ok)
      assert.matches(words, message, 1, true)
    end
  end)
end)

describe('no rule, policy or approval', function()
  after_each(support.tidy)

  local NAMES = levels.NAMES

  --- The least of several levels.
  local function least(...)
    local out = 'auto'
    for _, level in ipairs { ... } do
      if levels.exceeds(out, level) then out = level end
    end
    return out
  end

  it('raises trust above the operator\'s ceiling, whatever they say', function()
    local random = support.random(11)
    local function any() return NAMES[random(4)] end
    for round = 1, 60 do
      local declared, max, own, namespace, said = any(), any(), any(), any(), any()
      local body = ('return %s'):format(random(5) == 1 and 'error "x"' or ('%q, "so"'):format(said))
      local rules = ([[
signal "a" { query = "a", detector = threshold { above = 1 } }
incident "odd" { signals = { "a" }, min_signals = 1 }
playbook "p" { when = incident "odd", trust = "%s",
  plan = { kubernetes.restart { namespace = "shop", pod = "a" } } }
trust.policy(function() %s end)
trust.policy(function() return "auto", "all is well" end)]]):format(declared, body)
      local engine = support.engine { rules = rules, config = { guardrails = { dry_run = false,
        namespaces = { 'shop' }, trust = { max = max, playbooks = { p = own },
          namespaces = { shop = namespace } } } } }
      local ceiling = least(declared, max, own, namespace)
      local p = { playbook = 'p', target = '', actions = { restart 'shop' },
        previews = { { summary = 's', unavailable = 1, replicas = 5, ready = 5 } } }
      local level = of(engine, 'p', p)
      local words = ('round %d: %s'):format(round, table.concat({ declared, max, own, namespace,
        body, level }, ' '))
      assert.is_false(levels.exceeds(level, ceiling), words)
      if level == 'recommend' then
        p.trust, p.state, p.expires_at = level, 'blocked', clock.now() + 900
        local kept = plans.create(engine, p)
        local done, refusal = approvals.decide(engine, kept.id, 'approved',
          { who = 'anna', via = 'api', digest = kept.digest })
        assert.is_nil(done, words)
        assert.equal(409, refusal.status)
      end
      -- One that claims more than there is, as if approved before, does not run.
      for _, claimed in ipairs { 'auto', 'human_approve' } do
        local other = plans.create(engine, { playbook = 'p', target = '', trust = claimed,
          actions = p.actions, previews = p.previews, state = 'approved',
          expires_at = clock.now() + 900 })
        local refusal = guardrails.at_start(engine, other)
        assert.equal(levels.exceeds(claimed, ceiling), refusal ~= nil and refusal.gate == 'trust',
          words)
      end
      support.tidy()
    end
  end)
end)
