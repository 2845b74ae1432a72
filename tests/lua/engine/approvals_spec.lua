local approvals = require 'engine.approvals'
local async = require 'async'
local audit = require 'engine.audit'
local clock = require 'perigee.clock'
local incidents = require 'engine.incidents'
local json = require 'perigee.json'
local metrics = require 'engine.metrics'
local plan = require 'engine.plan'
local plans = require 'engine.plans'
local support = require 'lua.engine.support'

support.still()

local RULES = [[
signal "a" { query = "a", detector = threshold { above = 1 } }
incident "odd" { signals = { "a" }, min_signals = 1 }
playbook "mend" {
  when = incident "odd", trust = "human_approve",
  plan = { http.request { method = "POST", url = "http://shop/rollback" } },
}
]]

local ACTIONS = {
  { name = 'http.request', args = { method = 'POST', url = 'http://shop/rollback' } },
}

--- An engine with one open incident and one pending plan.
local function world(more)
  local engine = support.engine { rules = RULES }
  engine.store:exec([[insert into incidents
    (id, name, group_key, state, opened_at, updated_at, data)
    values ('inc-1', 'odd', '', 'open', ?, ?, '{"labels":{},"anomalies":[],"episode":1}')]],
    clock.now(), clock.now())
  local p = { playbook = 'mend', incident_id = 'inc-1', target = '', trust = 'human_approve',
    actions = ACTIONS, state = 'pending', expires_at = clock.now() + 900 }
  for k, v in pairs(more or {}) do p[k] = v end
  return engine, plans.create(engine, p)
end

local function decide(engine, p, decision, more)
  local by = { who = 'alice', via = 'api', digest = p.digest }
  for k, v in pairs(more or {}) do by[k] = v end
  return approvals.decide(engine, p.id, decision or 'approved', by)
end

local function refused(status, words, ...)
  local decided, refusal = decide(...)
  assert.is_nil(decided)
  assert.equal(status, refusal.status)
  assert.matches(words, refusal.message, 1, true)
end

describe('a decision', function()
  after_each(support.tidy)

  it('approves a pending plan, and says who, when, how and why', function()
    local engine, p = world()
    clock.advance(60)
    local decided = decide(engine, p, 'approved', { reason = 'looks right', via = 'cli' })
    assert.equal('approved', decided.state)
    local view = plans.view(engine.store, decided)
    assert.same({ { who = 'alice', via = 'cli', decision = 'approved', reason = 'looks right',
      at = clock.text(clock.now()) } }, view.decisions)
    assert.same({ 'plan_created', 'plan_approved', 'decision' }, support.kinds(engine))
    assert.equal(p.id, plans.due(engine.store, clock.now())[1].id)
  end)

  it('rejects one, and then nothing of it is due', function()
    local engine, p = world()
    assert.equal('rejected', decide(engine, p, 'rejected').state)
    assert.same({}, plans.due(engine.store, clock.now() + 1e6))
  end)

  it('about what is not there is 404', function()
    local engine = world()
    refused(404, 'no such plan', engine, { id = 'plan-0', digest = '' })
  end)

  it('about another digest is 409, and the plan still waits', function()
    local engine, p = world()
    refused(409, 'digest', engine, p, 'approved', { digest = 'sha256:' .. ('0'):rep(64) })
    refused(409, 'digest', engine, p, 'rejected', { digest = '' })
    assert.equal('pending', plans.get(engine.store, p.id).state)
    assert.truthy(decide(engine, p))
  end)

  it('about a recommendation is 409, whatever its state', function()
    local engine, p = world { trust = 'recommend', state = 'blocked' }
    refused(409, 'recommendation', engine, p)
    refused(409, 'recommendation', engine, p, 'rejected')
  end)

  it('is single: a second one is 409, and names the first', function()
    for _, first in ipairs { 'approved', 'rejected' } do
      for _, second in ipairs { 'approved', 'rejected' } do
        local engine, p = world()
        decide(engine, p, first)
        refused(409, first .. ' by alice', engine, p, second, { who = 'bob' })
        assert.equal(first, plans.get(engine.store, p.id).state)
        assert.equal(1, #plans.view(engine.store, p).decisions)
      end
    end
  end)

  it('in any other state is 409', function()
    for _, state in ipairs { 'superseded', 'executing', 'executed', 'failed', 'unknown', 'dry_run',
      'blocked' } do
      local engine, p = world { state = state }
      refused(409, 'the plan is ' .. state, engine, p)
      assert.equal(state, plans.get(engine.store, p.id).state)
    end
  end)

  it('too late is 410, also when nobody has noticed yet', function()
    local engine, p = world()
    clock.advance(900)
    refused(410, 'ended at', engine, p)
    approvals.expire(engine)
    assert.equal('expired', plans.get(engine.store, p.id).state)
    refused(410, 'ended at', engine, p)
  end)

  it('is in time until the very end', function()
    local engine, p = world()
    clock.advance(899.999)
    approvals.expire(engine)
    assert.equal('approved', decide(engine, p).state)
  end)

  it('about what an incident that is over asked for is 409', function()
    local engine, p = world()
    engine.store:exec "update incidents set state = 'resolved'"
    refused(409, 'the incident is resolved', engine, p)
  end)

  it('after a reload that took the playbook or its right away is 409', function()
    local engine, p = world()
    engine.rules.playbooks.mend.trust = 'recommend'
    refused(409, 'trust is now recommend', engine, p)
    engine.rules.playbooks.mend.trust = 'manual_only'
    refused(409, 'trust is now manual_only', engine, p)
    engine.rules.playbooks.mend.trust = 'auto'
    assert.truthy(decide(engine, p))
    engine, p = world()
    engine.rules.playbooks.mend = nil
    refused(409, 'declared no more', engine, p)
  end)

  it('that is refused is in the audit trail too', function()
    local engine, p = world()
    refused(409, 'digest', engine, p, 'approved', { digest = 'x', who = 'mallory' })
    local records = audit.list(engine.store, 0, 10)
    local last = records[#records]
    assert.same({ 'decision_refused', 'mallory', 'approved', p.id },
      { last.kind, last.who, last.decision, last.plan })
  end)
end)

describe('many decisions at once', function()
  it('count as one: exactly one is taken, all others are 409', function()
    local engine, p = world()
    local before = metrics.approvals:value 'approved'
    local won, lost, tasks = {}, 0, {}
    for i = 1, 50 do
      tasks[i] = async.spawn(function()
        local decided, refusal = decide(engine, p, i % 3 == 0 and 'rejected' or 'approved',
          { who = 'person-' .. i })
        if decided then won[#won + 1] = decided else
          assert(refusal.status == 409)
          lost = lost + 1
        end
      end)
    end
    for _, t in ipairs(tasks) do t:await() end
    assert.same({ 1, 49 }, { #won, lost })
    local view = plans.view(engine.store, plans.get(engine.store, p.id))
    assert.equal(1, #view.decisions)
    assert.equal(view.state, view.decisions[1].decision)
    assert.is_true(metrics.approvals:value 'approved' - before <= 1)
  end)

  it('of two processes on one store count as one', function()
    local path = support.folder() .. '/perigee.db'
    local one = support.engine { rules = RULES, path = path }
    local two = support.engine { rules = RULES, path = path, process = 'process-2' }
    for i = 1, 20 do
      local p = plans.create(one, { playbook = 'mend', target = tostring(i),
        trust = 'human_approve', actions = ACTIONS, state = 'pending',
        expires_at = clock.now() + 900 })
      local first = decide(i % 2 == 0 and one or two, p)
      local second, refusal = decide(i % 2 == 0 and two or one, p, 'rejected')
      assert.equal('approved', first.state)
      assert.is_nil(second)
      assert.equal(409, refusal.status)
    end
    one.store:close()
    two.store:close()
    support.tidy()
  end)
end)

describe('plans that nobody decides about', function()
  it('expire, each once, and are told of', function()
    local engine, p = world()
    clock.advance(899)
    approvals.expire(engine)
    assert.equal('pending', plans.get(engine.store, p.id).state)
    clock.advance(1)
    approvals.expire(engine)
    approvals.expire(engine)
    p = plans.get(engine.store, p.id)
    assert.same({ 'expired', 'nobody decided in time' }, { p.state, p.reason })
    assert.same({ 'plan_created', 'plan_expired' }, support.kinds(engine))
  end)

  it('are superseded when their incident is over', function()
    local engine, p = world()
    approvals.supersede(engine)
    assert.equal('pending', plans.get(engine.store, p.id).state)
    incidents.set_state(engine, 'inc-1', 'resolved')
    approvals.supersede(engine)
    p = plans.get(engine.store, p.id)
    assert.same({ 'superseded', 'the incident is resolved' }, { p.state, p.reason })
  end)

  it('are superseded when a reload took their playbook away', function()
    local engine, p = world()
    engine.rules.playbooks.mend = nil
    approvals.supersede(engine)
    assert.equal('superseded', plans.get(engine.store, p.id).state)
  end)

  it('without an incident wait for a person or for their end', function()
    local engine, p = world()
    engine.store:exec 'update plans set incident_id = null'
    approvals.supersede(engine)
    assert.equal('pending', plans.get(engine.store, p.id).state)
  end)
end)

describe('a plan\'s digest', function()
  it('is that of the canonical JSON of playbook, trust and actions', function()
    local text = '{"actions":[{"args":{"method":"POST","url":"http://shop/rollback"},'
      .. '"name":"http.request"}],"playbook":"mend","trust":"human_approve"}'
    assert.equal('sha256:' .. require('perigee.hash').sha256(text),
      plan.digest('mend', 'human_approve', ACTIONS))
  end)

  it('is another for any other playbook, trust, action or order', function()
    local verify = { name = 'verify', args = { query = 'x', below = 1, within = '1m' } }
    local seen, n = {}, 0
    for _, d in ipairs {
      plan.digest('mend', 'auto', ACTIONS), plan.digest('mend', 'human_approve', ACTIONS),
      plan.digest('other', 'auto', ACTIONS), plan.digest('mend', 'auto', {}),
      plan.digest('mend', 'auto', { ACTIONS[1], verify }),
      plan.digest('mend', 'auto', { verify, ACTIONS[1] }),
    } do
      assert.is_nil(seen[d])
      seen[d], n = true, n + 1
    end
    assert.equal(6, n)
  end)

  it('survives the way through the store', function()
    local engine, p = world()
    local kept = plans.get(engine.store, p.id)
    assert.equal(p.digest, plan.digest(kept.playbook, kept.trust, kept.actions))
    assert.equal(p.digest, plan.digest(kept.playbook, kept.trust,
      json.decode(json.encode(kept.actions))))
  end)
end)
