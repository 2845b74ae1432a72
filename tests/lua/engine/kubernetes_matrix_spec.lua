--- Each action on Kubernetes at each level of trust, through each thing that can come in between:
--- the plan's state, what the journal says, and how often the cluster was changed. From a
--- playbook's trigger to the end of its plan, against the stateful fake.
local acting = require 'lua.actions.kubernetes.support'
local approvals = require 'engine.approvals'
local async = require 'async'
local audit = require 'engine.audit'
local clock = require 'perigee.clock'
local execute = require 'engine.execute'
local fakes = require 'fakes.kubernetes'
local file = require 'perigee.file'
local guardrails = require 'engine.guardrails'
local playbooks = require 'engine.playbooks'
local plans = require 'engine.plans'
local support = require 'lua.engine.support'

support.still()

local RULES = [[
signal "a" { query = "a", detector = threshold { above = 1 } }
incident "odd" { signals = { "a" }, min_signals = 1 }
playbook "mend" { when = incident "odd", trust = "TRUST", plan = {} }
]]

-- -- the actions ----------------------------------------------------------------------------------

--- Of each: the cluster, the arguments, the write that it sends, what it has changed, and an edit
--- by somebody else.
local ACTIONS = {
  restart = {
    objects = { fakes.statefulset('shop/db', { replicas = 3 }) },
    args = { namespace = 'shop', pod = 'db-2' },
    write = { 'evict', 'POST', '/eviction' },
    changes = function(fake)
      local n = 0
      for _, r in ipairs(fake:asked('POST', '/eviction')) do
        local answered = r.status == 201 or r.status == nil -- or nobody saw it
        n = n + (answered and not r.body:find('"dryRun"', 1, true) and 1 or 0)
      end
      return n
    end,
    edit = function(fake) fake:remove('Pod', 'shop', 'db-2') end, -- another of its name comes
    remove = function(fake) fake:remove('StatefulSet', 'shop', 'db') end,
    budget = { fakes.budget('shop/db', { minAvailable = 3 }) },
  },
  scale = {
    objects = { fakes.deployment('shop/checkout', { replicas = 4 }) },
    args = { namespace = 'shop', deployment = 'checkout', increment = -1, min = 2, max = 10 },
    write = { 'set_scale', 'PUT', '/scale' },
    changes = acting.changes,
    edit = function(fake)
      fake:put(fakes.deployment('shop/checkout', { replicas = 4, image = 'checkout:9' }))
    end,
    remove = function(fake) fake:remove('Deployment', 'shop', 'checkout') end,
    budget = { fakes.budget('shop/checkout', { minAvailable = 4 }) },
  },
  rollback = {
    objects = { fakes.deployment('shop/checkout', { replicas = 1 }),
      fakes.deployment('shop/checkout', { replicas = 1, image = 'checkout:2' }) },
    args = { namespace = 'shop', deployment = 'checkout' },
    write = { 'patch', 'PATCH', '/deployments/' },
    changes = acting.changes,
    edit = function(fake)
      fake:put(fakes.deployment('shop/checkout', { replicas = 1, image = 'checkout:9' }))
    end,
    remove = function(fake) fake:remove('Deployment', 'shop', 'checkout') end,
    budget = { fakes.budget('shop/checkout', { minAvailable = 1 }) },
  },
}

-- -- what comes in between ------------------------------------------------------------------------

--- Does something just before the first write that is no rehearsal goes out.
local function before_write(w, f)
  local k, name = w.engine.kubernetes, w.action.write[1]
  local send = k[name]
  k[name] = function(self, ...)
    local options = select(select('#', ...), ...)
    if not options.dry_run and f then
      local once = f
      f = nil
      once()
    end
    return send(self, ...)
  end
end

local function fault(w, more)
  more.method, more.path = w.action.write[2], w.action.write[3]
  w.fake:fault(more)
end

-- `start` has happened before the playbook is asked, `planned` once there is a plan.
local CONDITIONS = {
  { 'success' },
  { 'failure', planned = function(w)
    before_write(w, function()
      fault(w, { status = 400, message = 'admission webhook "policy" denied the request' })
    end)
  end },
  { 'conflict', planned = function(w)
    before_write(w, function() w.action.edit(w.fake) end)
  end },
  { 'disruption budget', start = function(w)
    for _, budget in ipairs(w.action.budget) do w.fake:put(budget) end
  end },
  { 'object gone', planned = function(w) w.action.remove(w.fake) end },
  { 'forbidden', start = function(w)
    fault(w, { status = 403, times = 1000, message = 'User "perigee" cannot do that' })
  end },
  { 'server restarts mid-way', planned = function(w)
    before_write(w, function() fault(w, { drop = 'after', restart = true }) end)
  end },
}

-- -- what is to come of it ------------------------------------------------------------------------

local DONE = { 'executed', 'started applied succeeded', 1, 'all 1 actions succeeded' }
local FAILED = { 'failed', 'started failed', 0, 'denied the request' }
local EDITED = { 'failed', 'started failed', 0, 'was edited meanwhile: nothing was changed' }
local GONE = { 'superseded', '', 0, 'is gone' }
local FORBIDDEN = { 'blocked', '', 0, 'forbidden: User "perigee" cannot do that' }
local LOST = { 'executed', 'started lost applied succeeded', 1, 'all 1 actions succeeded' }

-- The plan's state, its journal, the changes, words of its reason; where something is carried out.
local EXPECTED = {
  restart = { DONE, FAILED,
    { 'executed', 'started applied succeeded', 0, 'all 1 actions succeeded' }, -- gone by itself
    { 'failed', 'started failed', 0, 'The disruption budget db needs 3 healthy pods' },
    GONE, FORBIDDEN, LOST },
  scale = { DONE, FAILED, EDITED,
    { 'blocked', '', 0, '3 replicas would leave fewer pods than the disruption budget "checkout"' },
    GONE, FORBIDDEN, LOST },
  rollback = { DONE, FAILED, EDITED, DONE, GONE, FORBIDDEN, LOST }, -- budgets have no say
}

local RECOMMENDED = { 'blocked', '', 0, 'trust is "recommend": shown, and nothing of it runs' }

--- What is to come of a cell: nothing runs where nothing may, and what cannot be is said.
local function expected(action, i, trust)
  local acted = EXPECTED[action][i]
  if trust == 'manual_only' then return { 'no plan', '', 0 } end
  if trust == 'recommend' and acted[1] ~= 'blocked' then return RECOMMENDED end
  return acted
end

-- -- a cell ---------------------------------------------------------------------------------------

local function world(action, trust)
  local w = { action = ACTIONS[action], fake = acting.fake {} }
  for _, object in ipairs(w.action.objects) do
    w.fake:put(object)
    clock.advance(1)
  end
  w.engine = support.engine { rules = RULES:gsub('TRUST', trust), config = {
    guardrails = { dry_run = false, cooldown = '0s', max_actions_per_hour = 100,
      namespaces = { 'shop' }, blast_radius = 0.4 } } }
  w.engine.kubernetes = acting.client(w.fake)
  w.engine.rules.playbooks.mend.plan = function()
    return { { kind = 'action', name = 'kubernetes.' .. action, options = w.action.args } }
  end
  w.engine.store:exec([[insert into incidents (id, name, group_key, state, opened_at, updated_at,
    data) values ('inc-1', 'odd', '', 'open', ?, ?, '{"labels":{},"anomalies":[],"episode":1}')]],
    clock.now(), clock.now())
  return w
end

local FINAL = { executed = true, failed = true, unknown = true, superseded = true, blocked = true }

--- Takes every step that is due until the plan has ended.
local function run(w, p)
  for _ = 1, 100 do
    for _, due in ipairs(plans.due(w.engine.store, clock.now())) do execute.step(w.engine, due) end
    p = plans.get(w.engine.store, p.id)
    if FINAL[p.state] then return p end
    clock.advance(1)
  end
  return p
end

--- What the trail has of the action: "started applied succeeded".
local function journal(w)
  local out = {}
  for _, record in ipairs(audit.list(w.engine.store, 0, 1000)) do
    out[#out + 1] = record.kind:match '^action_(.*)$'
  end
  return table.concat(out, ' ')
end

local function approve(w, p)
  return approvals.decide(w.engine, p.id, 'approved',
    { who = 'alice', via = 'api', digest = p.digest })
end

--- The plan that comes of it all, as it is in the end.
local function carry_out(w, condition)
  if condition.start then condition.start(w) end
  playbooks.consider_all(w.engine)
  local p = plans.list(w.engine.store, 10)[1]
  if condition.planned then condition.planned(w) end
  if not p then return nil end
  if p.state == 'pending' or p.trust == 'recommend' then
    w.approved, w.refusal = approve(w, p)
  end
  return run(w, p)
end

local function check_cell(action, i, trust)
  local condition, want = CONDITIONS[i], expected(action, i, trust)
  local w = world(action, trust)
  local p = acting.patiently(function() return carry_out(w, condition) end, 300)
  local name = ('%s, %s, %s'):format(action, trust, condition[1])
  assert.same({ want[1], want[2], want[3] },
    { p and p.state or 'no plan', journal(w), w.action.changes(w.fake) }, name)
  if not want[4] then return end
  assert.matches(want[4], p.reason, 1, true, name)
  if trust == 'recommend' then assert.equal(409, w.refusal.status, name) end
  if trust == 'human_approve' and want ~= FORBIDDEN and want[1] ~= 'blocked' then
    assert.equal(want ~= GONE, w.approved ~= nil, name)
  end
end

describe('an action on Kubernetes', function()
  after_each(acting.tidy)

  local cells = 0
  for _, action in ipairs { 'restart', 'scale', 'rollback' } do
    for _, trust in ipairs { 'auto', 'human_approve', 'recommend', 'manual_only' } do
      it(('(%s) at trust %s comes to what it should, whatever happens'):format(action, trust),
        function()
          for i in ipairs(CONDITIONS) do
            check_cell(action, i, trust)
            acting.tidy()
            cells = cells + 1
          end
        end)
    end
  end

  it('has been tried in every cell', function() assert.equal(3 * 4 * 7, cells) end)

  --- How often its write has arrived that is no rehearsal.
  local function sent(w)
    local count = 0
    for _, r in ipairs(w.fake:asked(w.action.write[2], w.action.write[3])) do
      count = count + ((r.query .. r.body):find('dryRun', 1, true) and 0 or 1)
    end
    return count
  end

  local function throw_kill_switch(w)
    assert(file.write(guardrails.kill_file(w.engine.config), 'alice\n'))
  end

  --- Does something as soon as the first write has arrived.
  local function after_arrival(w, f)
    async.spawn(function()
      while sent(w) == 0 do async.turn() end
      f(w)
    end)
  end

  --- Carries out the action's plan, and says what has come of it.
  local function come_to(action, planned)
    local w = world(action, 'auto')
    local p = acting.patiently(function()
      return carry_out(w, { planned = function() planned(w) end })
    end, 300)
    return w, p
  end

  it('sends nothing more once the kill switch is on, while it waits for a budget', function()
    local w, p = come_to('restart', function(w)
      w.fake:put(w.action.budget[1])
      after_arrival(w, throw_kill_switch)
    end)
    assert.equal('failed', p.state)
    assert.matches('stopped: the kill switch is on', p.reason, 1, true)
    assert.equal(1, sent(w))
  end)

  it('sends nothing more once it is on, while the server wants to be left alone', function()
    for _, action in ipairs { 'restart', 'scale', 'rollback' } do
      local w, p = come_to(action, function(w)
        before_write(w, function() fault(w, { status = 429, retry_after = 20 }) end)
        after_arrival(w, throw_kill_switch)
      end)
      assert.equal('failed', p.state)
      assert.matches('stopped: the kill switch is on', p.reason, 1, true)
      assert.same({ 1, 0 }, { sent(w), w.action.changes(w.fake) })
      acting.tidy()
    end
  end)

  it('leaves what has not gone out to the rules of after a reload', function()
    for _, forbidden in ipairs { false, true } do
      local w, p = come_to('scale', function(w)
        before_write(w, function() fault(w, { status = 429, retry_after = 20 }) end)
        after_arrival(w, function()
          w.engine.stopping = true -- and the next generation, which is active now:
          w.engine = setmetatable({ stopping = false }, { __index = w.engine })
          if forbidden then
            local g = setmetatable({ namespaces = {} }, { __index = w.engine.config.guardrails })
            w.engine.config = setmetatable({ guardrails = g }, { __index = w.engine.config })
          end
        end)
      end)
      assert.same(forbidden and { 'failed', 0 } or { 'executed', 1 },
        { p.state, w.action.changes(w.fake) })
      assert.equal(forbidden and 'started lost failed' or 'started lost started applied succeeded',
        journal(w))
      acting.tidy()
    end
  end)

  it('is not done on top of itself where a request arrives after all', function()
    for _, late in ipairs { 2, 3 } do -- between being asked about and being repeated
      local w, p = come_to('scale', function(w)
        before_write(w, function()
          fault(w, { drop = 'before' })
          w.fake:fault { method = 'GET', path = '/deployments/checkout$', skip = late - 1,
            delay = 0.1 }
        end)
        after_arrival(w, function()
          local body = w.fake:asked('PUT', '/scale')
          body = require('perigee.json').decode(body[#body].body)
          while w.fake.faults[2].hits == 0 do async.turn() end
          local object = w.fake:get('Deployment', 'shop', 'checkout')
          object.spec.replicas = body.spec.replicas
          w.fake:put(object, 'perigee')
        end)
      end)
      assert.same({ 'executed', 3 },
        { p.state, w.fake:get('Deployment', 'shop', 'checkout').spec.replicas }, p.reason)
      acting.tidy()
    end
  end)
end)
