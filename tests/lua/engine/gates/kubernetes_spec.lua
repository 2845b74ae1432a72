--- The gates against a cluster: what previews really say of pods and their workloads.
local acting = require 'lua.actions.kubernetes.support'
local breaker = require 'engine.breaker'
local clock = require 'perigee.clock'
local execute = require 'engine.execute'
local fakes = require 'fakes.kubernetes'
local guardrails = require 'engine.guardrails'
local playbooks = require 'engine.playbooks'
local plans = require 'engine.plans'
local support = require 'lua.engine.support'

support.still()

local RULES = [[
signal "a" { query = "a", detector = threshold { above = 1 } }
incident "odd" { signals = { "a" }, min_signals = 1 }
playbook "mend" { when = incident "odd", trust = "auto", plan = {} }
]]

--- A cluster with objects, and an engine that may act in the namespace shop.
local function world(objects, set)
  local w = { fake = acting.fake {} }
  for _, object in ipairs(objects) do w.fake:put(object) end
  local values = { dry_run = false, namespaces = { 'shop' } }
  for k, v in pairs(set or {}) do values[k] = v end
  w.engine = support.engine { rules = RULES, config = { guardrails = values } }
  w.engine.kubernetes = acting.client(w.fake)
  local n = 0

  --- What comes of an action that a playbook plans, at once or after a while.
  function w.act(name, options)
    n = n + 1
    w.engine.store:exec([[insert into incidents (id, name, group_key, state, opened_at, updated_at,
      data) values (?, 'odd', ?, 'open', ?, ?, '{"labels":{},"anomalies":[],"episode":1}')]],
      'inc-' .. n, 'g' .. n, clock.now(), clock.now())
    w.engine.rules.playbooks.mend.plan = function()
      return { { kind = 'action', name = 'kubernetes.' .. name, options = options } }
    end
    playbooks.consider_all(w.engine)
    for _ = 1, 60 do
      for _, p in ipairs(plans.due(w.engine.store, clock.now())) do execute.step(w.engine, p) end
      local p = plans.get(w.engine.store, w.engine.store:row('select id from plans '
        .. 'where incident_id = ?', 'inc-' .. n).id)
      if p.state ~= 'approved' and p.state ~= 'executing' then return p.state, p.reason end
      clock.advance(1)
    end
  end
  return w
end

--- The name of a pod of a Deployment.
local function pod_of(w, position)
  local pods = assert(w.engine.kubernetes:list('pods', 'shop', {})).items
  return pods[position].metadata.name
end

describe('against a cluster', function()
  after_each(acting.tidy)

  it('the only replica is never restarted, one of three is', function()
    local w = world { fakes.deployment('shop/checkout', { replicas = 1 }) }
    local state, reason = w.act('restart', { namespace = 'shop', pod = pod_of(w, 1) })
    assert.equal('blocked', state)
    assert.equal('1 of 1 pods of kubernetes/shop/Deployment/checkout would be unavailable at once, '
      .. 'and 1 are ready: the last ready one stays', reason)
    w = world { fakes.deployment('shop/checkout', { replicas = 3 }) }
    assert.same({ 'executed', 'all 1 actions succeeded' },
      { w.act('restart', { namespace = 'shop', pod = pod_of(w, 1) }) })
  end)

  it('another pod of the same Deployment waits for the cooldown', function()
    local w = world { fakes.deployment('shop/checkout', { replicas = 5 }) }
    assert.equal('executed', (w.act('restart', { namespace = 'shop', pod = pod_of(w, 1) })))
    clock.advance(60)
    local state, reason = w.act('restart', { namespace = 'shop', pod = pod_of(w, 2) })
    assert.equal('blocked', state)
    assert.matches('guardrails.cooldown of 10m for kubernetes/shop/Deployment/checkout: ', reason,
      1, true)
  end)

  it('three actions in ten minutes are what a namespace gets', function()
    local objects = {}
    for i = 1, 4 do
      objects[i] = fakes.deployment('shop/app-' .. i, { replicas = 4 })
    end
    local w = world(objects)
    for i = 1, 3 do
      assert.equal('executed', (w.act('scale', { namespace = 'shop', deployment = 'app-' .. i,
        increment = 1, min = 1, max = 9 })), i)
    end
    local state, reason = w.act('scale', { namespace = 'shop', deployment = 'app-4',
      increment = 1, min = 1, max = 9 })
    assert.equal('blocked', state)
    assert.equal('guardrails.limits.namespace is 3 in 10m: 3 of shop, 1 more wanted', reason)
  end)

  it('scaling down takes a fifth at most', function()
    local w = world({ fakes.deployment('shop/checkout', { replicas = 10 }) }, { cooldown = '0s' })
    local function down(n)
      return w.act('scale', { namespace = 'shop', deployment = 'checkout', increment = -n, min = 1,
        max = 20 })
    end
    local state, reason = down(3)
    assert.equal('blocked', state)
    assert.matches('3 of 10 pods of kubernetes/shop/Deployment/checkout would be unavailable at '
      .. 'once; guardrails.blast_radius of 0.2 allows 2', reason, 1, true)
    assert.equal('executed', (down(2)))
  end)

  it('a namespace that is not named is not asked for anything but a look', function()
    local w = world({ fakes.deployment('pay/checkout', { replicas = 3 }) })
    local state, reason = w.act('restart', { namespace = 'pay', deployment = 'checkout' })
    assert.equal('blocked', state)
    assert.equal('action 1 (kubernetes.restart): pay is not in guardrails.namespaces (shop)',
      reason)
  end)

  it('nothing is changed once the kill switch is thrown, whichever request that comes before',
    function()
      local METHODS = { 'get', 'list', 'evict', 'patch', 'scale', 'set_scale' }
      local n, reached = 0, true
      while reached do
        n, reached = n + 1, false
        local w = world { fakes.deployment('shop/checkout', { replicas = 3 }) }
        local name, calls, before = pod_of(w, 1), 0, nil
        local function writes()
          local sent = 0
          for _, r in ipairs(w.fake:asked('POST', '/eviction')) do
            sent = sent + ((r.query .. r.body):find('dryRun', 1, true) and 0 or 1)
          end
          return sent
        end
        for _, method in ipairs(METHODS) do
          local own = w.engine.kubernetes[method]
          w.engine.kubernetes[method] = function(k, ...)
            calls = calls + 1
            if calls == n then
              reached, before = true, writes()
              guardrails.set_kill_switch(w.engine, true, 'alice')
            end
            return own(k, ...)
          end
        end
        local state = w.act('restart', { namespace = 'shop', pod = name })
        assert.equal(reached and before or 1, writes(), n)
        assert.truthy(reached or state == 'executed', state)
        -- What was stopped counts for no breaker.
        assert.matches('^0 plans of mend failed', select(2, breaker.gate(w.engine,
          { playbook = 'mend' })))
        acting.tidy()
      end
      assert.is_true(n > 4, n)
    end)
end)
