local approvals = require 'engine.approvals'
local clock = require 'perigee.clock'
local evaluate = require 'engine.evaluate'
local execute = require 'engine.execute'
local file = require 'perigee.file'
local guardrails = require 'engine.guardrails'
local plans = require 'engine.plans'
local scheduler = require 'engine.scheduler'
local support = require 'lua.engine.support'
local why = require 'engine.why'
local why_not = require 'engine.why_not'

support.still()

local RULES = [[
signal "latency" { query = "q", every = "10s", detector = threshold { above = 1 } }
incident "slow" { signals = { "latency" }, min_signals = 1, group_by = { "app" } }
playbook "mend" { when = incident "slow", trust = "%s", %s
  plan = { http.request { method = "POST", url = "http://shop/x" } } }
]]

local function world(level, more, set)
  local values = { http = { { url_prefix = 'http://shop/' } }, dry_run = false }
  for k, v in pairs(set or {}) do values[k] = v end
  return support.engine { rules = RULES:format(level, more or ''),
    config = { guardrails = values } }
end

local function go_wrong(engine) return support.go_wrong(engine, engine.rules.incidents.slow) end

local function names(asked)
  local out = {}
  for i, a in ipairs(asked) do out[i] = (a.refused and '!' or '') .. a.gate end
  return table.concat(out, ' ')
end

describe('why', function()
  after_each(support.tidy)

  it('tells the trigger with its values, the trust and every gate of a plan', function()
    local engine = world 'human_approve'
    local incident, p = go_wrong(engine)
    local story = why.plan(engine, p.id)
    assert.equal('incident', story.trigger.trigger)
    assert.same({ app = 'shop' }, story.trigger.labels)
    local a = story.trigger.incident.anomalies[1]
    assert.same({ 'latency', 5 }, { a.signal, a.value })
    assert.equal(incident.id, story.incident_id)
    assert.same({ 'human_approve', 'human_approve' }, { story.trust.from, story.trust.to })
    assert.equal('partial_data not_allowed scope breaker playbook_cooldown playbook_limit '
      .. 'blast_radius', names(story.gates.planning.asked))
    assert.equal('0 plans of mend failed within 1h; the circuit breaker opens at 2',
      story.gates.planning.asked[4].message)
    assert.equal('approval', story.decided.gate)
    assert.matches('^it waits for a person until 20', story.decided.message)
  end)

  it('names the gate that decided, with its values, also long after', function()
    local engine = world('human_approve', nil, { max_actions_per_hour = 0 })
    local _, p = go_wrong(engine)
    assert(approvals.decide(engine, p.id, 'approved', { who = 'anna', via = 'api',
      digest = p.digest }))
    execute.step(engine, plans.due(engine.store, clock.now())[1])
    engine.config.guardrails.max_actions_per_hour = 10
    clock.advance(86400)
    local story = why.plan(engine, p.id)
    assert.equal('blocked', story.state)
    assert.same({ 'max_actions_per_hour', 'max_actions_per_hour is 0: 0 in the last hour, 1 more '
      .. 'wanted', 'start' }, { story.decided.gate, story.decided.message, story.decided.point })
    assert.matches('!max_actions_per_hour$', names(story.gates.start.asked))
    assert.equal('anna', story.decisions[1].who)
  end)

  it('names what stopped a plan when it was made', function()
    local engine = world('auto', nil, { http = {} })
    local _, p = go_wrong(engine)
    local story = why.plan(engine, p.id)
    assert.equal('not_allowed', story.decided.gate)
    assert.equal('partial_data !not_allowed', names(story.gates.planning.asked))
    assert.is_nil(story.gates.start)
  end)

  it('names the trust where that was it, and the dry run', function()
    local engine = world 'recommend'
    local _, p = go_wrong(engine)
    local story = why.plan(engine, p.id)
    assert.equal('trust', story.decided.gate)
    assert.matches('recommend', story.decided.message)
    engine = world('auto', nil, { dry_run = true })
    _, p = go_wrong(engine)
    execute.step(engine, plans.due(engine.store, clock.now())[1])
    assert.equal('dry_run', why.plan(engine, p.id).decided.gate)
  end)

  it('of an incident tells of its plans, and why other playbooks made none', function()
    local engine = support.engine { rules = RULES:format('human_approve', '') .. [[
      playbook "by_hand" { when = incident "slow", trust = "manual_only" }]],
      config = { guardrails = { http = { { url_prefix = 'http://shop/' } } } } }
    local incident, p = go_wrong(engine)
    local story = why.incident(engine, incident.id)
    assert.equal(p.id, story.plans[1].id)
    assert.equal('by_hand', story.without_plan[1].playbook)
    assert.equal('trust', story.without_plan[1].decided.gate)
    assert.is_nil(why.incident(engine, 'inc-0'))
    assert.is_nil(why.plan(engine, 'plan-0'))
  end)
end)

describe('why not', function()
  after_each(support.tidy)

  local function decided(engine)
    local d = why_not.of(engine, 'mend').decided
    return d.gate, d.message
  end

  it('tells how far from its trigger a playbook is', function()
    local engine = world 'auto'
    local gate, message = decided(engine)
    assert.equal('trigger', gate)
    assert.equal('no incident slow is active: 0 of its signals fire, 1 are needed (latency: it has '
      .. 'not been evaluated yet)', message)
    engine.source.answers.q = { { { app = 'shop' }, 0.5 } }
    evaluate.run(engine, scheduler.jobs(engine.rules)[1], clock.now())
    assert.matches('(latency: inactive, 0.5 {app="shop"})', select(2, decided(engine)), 1, true)
    engine.source.answers.q = { message = 'no such host' }
    clock.advance(10)
    evaluate.run(engine, scheduler.jobs(engine.rules)[1], clock.now())
    local words = why_not.of(engine, 'mend').trigger.message
    assert.matches('latency: ', words, 1, true)
  end)

  it('tells how a metric\'s series are', function()
    local engine = support.engine { rules = [[
      playbook "mend" { when = metric { query = "q > 1", hold_for = "1m", every = "10s" },
        trust = "auto", plan = { http.request { method = "POST", url = "http://shop/x" } } }]] }
    local job = scheduler.jobs(engine.rules)[1]
    evaluate.run(engine, job, clock.now())
    assert.equal('it does not fire: the query has no result', select(2, decided(engine)))
    engine.source.answers['q > 1'] = { { { app = 'shop' }, 3 } }
    clock.advance(10)
    evaluate.run(engine, job, clock.now())
    clock.advance(20)
    evaluate.run(engine, job, clock.now())
    assert.equal('it does not fire: 1 series: pending, 3 {app="shop"}, for 20s of 1m',
      select(2, decided(engine)))
  end)

  it('tells the trust, and the plan that waits', function()
    local engine = world 'manual_only'
    assert.same({ 'trust', 'its trust is manual_only: it makes no plans' }, { decided(engine) })
    engine = world 'human_approve'
    local _, p = go_wrong(engine)
    assert.same({ 'approval', p.id .. ' is pending' }, { decided(engine) })
    engine = world('auto', nil, { trust = { max = 'manual_only' } })
    assert.same({ 'trust', 'trust lowered from auto: guardrails.trust.max is manual_only' },
      { decided(engine) })
  end)

  it('tells what every gate would say now, and names the first that refuses', function()
    local engine = world 'human_approve'
    local _, p = go_wrong(engine)
    plans.move(engine, p.id, 'pending', 'rejected', {})
    assert(file.write(guardrails.kill_file(engine.config), 'alice\n'))
    local answer = why_not.of(engine, 'mend')
    assert.equal('kill_switch', answer.decided.gate)
    assert.matches('^!kill_switch storm freeze silenced trust ', names(answer.gates))
    os.remove(guardrails.kill_file(engine.config))
    assert.same({ 'considered', ('it has been asked: %s is rejected'):format(p.id) },
      { decided(engine) })
    assert.equal(0, engine.store:row 'select count(*) as n from stories where point = \'start\''.n)
  end)

  it('tells that dry_run is on, that a rule is switched off, and that there is no such playbook',
    function()
      local engine = world('human_approve', nil, { dry_run = true })
      local _, p = go_wrong(engine)
      plans.move(engine, p.id, 'pending', 'rejected', {})
      assert.equal('dry_run', (decided(engine)))
      engine.store:exec([[insert into rule_faults (rule, digest, running, switched_off_at, reason)
        values ('playbook/mend', ?, 3, 1, 'switched off after 3 faults')]],
        engine.rules.playbooks.mend.file_digest)
      assert.same({ 'switched_off', 'switched off after 3 faults' }, { decided(engine) })
      assert.is_nil(why_not.of(engine, 'none'))
    end)

  it('knows every kind of trigger', function()
    local engine = support.engine { rules = [[
      local act = { http.request { method = "POST", url = "http://shop/x" } }
      signal "s" { query = "q", detector = threshold { above = 1 }, hold_for = "1m" }
      forecast "f" { query = "q", threshold = 1, alert_when = "days_until_threshold < 3" }
      playbook "a" { when = alert "High" { app = "shop" }, trust = "auto", plan = act }
      playbook "b" { when = every "1h", trust = "auto", plan = act }
      playbook "c" { when = every { at = "03:00" }, trust = "auto", plan = act }
      playbook "d" { when = kubernetes_event { reason = "BackOff" }, trust = "auto", plan = act }
      playbook "e" { when = signal "s", trust = "auto", plan = act }
      playbook "f" { when = forecast "f", trust = "auto", plan = act }]] }
    local function message(name) return why_not.of(engine, name).decided.message end
    assert.equal('no alert High {app="shop"} fires', message 'a')
    assert.matches('^it waits for its time; the last was 2023%-', message 'b')
    assert.matches('^it waits for its time; the last was 2023%-.*T03:00', message 'c')
    assert.equal('it waits for an event of Kubernetes with the reason BackOff', message 'd')
    assert.equal('it does not fire: it has not been evaluated yet', message 'e')
    assert.equal('it does not fire: it has not been evaluated yet', message 'f')
  end)
end)
