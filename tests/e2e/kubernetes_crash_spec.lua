--- kill -9 while a plan acts on Kubernetes. The cluster can tell what has happened: so every plan
--- comes to its end, and each of its actions has changed the Deployment exactly once.
local crash = require 'e2e.crash'
local kubernetes = require 'fakes.kubernetes'

-- SOAK=1 (`make soak`): 300 rounds and more; else some of them.
local SOAK = os.getenv 'SOAK'

local RULES = [[
signal "latency" { query = "latency", every = "1s", detector = threshold { above = 0 } }
signal "errors" { query = "errors", every = "1s", detector = threshold { above = 0 } }
incident "sick" {
  signals = { "latency", "errors" }, min_signals = 2, within = "1m", reopen_within = "0",
}
playbook "cure" {
  when = incident "sick", trust = "TRUST",
  plan = {
    kubernetes.scale { namespace = "shop", deployment = "checkout", increment = 1, max = 10 },
    kubernetes.rollback { namespace = "shop", deployment = "checkout", revisions_back = 1 },
    verify { query = "cured", above = 0, within = "1s", otherwise = "revert" },
    kubernetes.restart { namespace = "shop", deployment = "checkout" },
  },
}
]]

local KUBECONFIG = [[
apiVersion: v1
kind: Config
current-context: here
clusters: [ { name: here, cluster: { server: "%s" } } ]
contexts: [ { name: here, context: { cluster: here, user: nobody } } ]
users: [ { name: nobody, user: {} } ]
]]

local STORIES = {
  { name = 'a plan that helps', trust = 'auto', cured = true, ends = { executed = true },
    changes = { replicas = 1, image = 1, restart = 1 } },
  { name = 'a plan that was approved', trust = 'human_approve', cured = true,
    ends = { executed = true }, changes = { replicas = 1, image = 1, restart = 1 } },
  -- A revert that was under way is not asked for: nobody knows how it ended; a person is called.
  { name = 'a plan that is reverted', trust = 'auto', cured = false,
    ends = { failed = true, unknown = true }, changes = { replicas = 2, image = 2 } },
}

local FINAL = { executed = true, failed = true, unknown = true, superseded = true,
  blocked = true, expired = true, rejected = true, dry_run = true }

--- A cluster whose Deployment has an earlier revision.
local function cluster()
  local fake = kubernetes.start { objects = { kubernetes.deployment('shop/checkout',
    { image = 'checkout:1' }) } }
  fake:put(kubernetes.deployment('shop/checkout', { image = 'checkout:2' }))
  return fake
end

local function new_patient(story)
  local fake = cluster()
  local patient = crash.new { trust = story.trust, cured = story.cured, rules = RULES,
    config = function(patient)
      local path = patient.world:write('kubeconfig', KUBECONFIG:format(fake.url))
      return ('kubernetes: { kubeconfig: "%s" }\n'):format(path)
    end }
  return setmetatable({ patient = patient, cluster = fake }, { __close = function()
    patient:close()
    fake:stop()
  end })
end

local function parts_of(deployment)
  local template = deployment.spec.template
  return { replicas = deployment.spec.replicas, image = template.spec.containers[1].image,
    restart = (template.metadata.annotations or {})['kubectl.kubernetes.io/restartedAt'] or '' }
end

--- How often each part of the Deployment was changed by the one under test.
local function changes_of(fake)
  local before, count = nil, {}
  for _, change in ipairs(fake:changes()) do
    if change.kind == 'Deployment' then
      local now = parts_of(change.object)
      for name, value in pairs(before or now) do
        if change.manager == 'perigee' and value ~= now[name] then
          count[name] = (count[name] or 0) + 1
        end
      end
      before = now
    end
  end
  return count
end

--- The only plan, once it has come to its end; approved where it waits for it.
local function plan_of(patient)
  return patient:wait_for('the plan to end', 40, function()
    if not patient:running() then return {} end
    patient:approve()
    local plans = patient:ask('GET', '/api/v1/plans') or {}
    assert(#plans <= 1, 'one incident, and more than one plan')
    return plans[1] and FINAL[plans[1].state] and plans[1]
  end)
end

local function check(story, here, p)
  assert(story.ends[p.state], ('%s: %s'):format(p.state, p.reason))
  local changes = changes_of(here.cluster)
  for name, n in pairs(changes) do
    local most = story.changes[name] or 0
    assert(n <= most, ('%s was changed %d times'):format(name, n))
  end
  if p.state ~= 'unknown' then assert.same(story.changes, changes) end
  assert.equal(story.trust == 'human_approve' and 1 or 0, #p.decisions)
  local status, out, err = here.patient.perigee:cli('admin', 'audit', '--verify')
  assert.equal(0, status, out .. err)
end

--- One life that ends at a call, and the next that has to bring the plan to its end.
---@return string? what went wrong
local function round(story, at, how)
  local here <close> = new_patient(story)
  local patient = here.patient
  local ok, message = xpcall(function()
    patient:arm(at, how)
    if patient:start() then plan_of(patient) end
    patient:kill()
    patient:arm()
    assert(patient:start(), 'it does not start again')
    check(story, here, plan_of(patient))
  end, debug.traceback)
  if ok then return nil end
  return ('%s, %s call %d: %s%s'):format(story.name, crash.WAYS[how], at, tostring(message),
    patient.world:last_words())
end

--- The calls of a life without a crash: when the plan is made, and until it is over.
local function points_of(story)
  local here <close> = new_patient(story)
  here.patient:arm()
  assert.is_true(here.patient:start())
  check(story, here, plan_of(here.patient))
  return here.patient:calls()
end

local function add_rounds(rounds, story)
  local points = points_of(story)
  local wanted = SOAK and 110 or 5
  for i = 1, wanted do
    local at = math.max(1, points * i // wanted)
    local how = i % #crash.WAYS + 1
    rounds[#rounds + 1] = function() return round(story, at, how) end
  end
end

describe('kill -9 of who acts on Kubernetes', function()
  it('at any point leaves every action done once, and no approval lost or used twice', function()
    local problems = crash.rounds(STORIES, add_rounds, 8)
    assert.equal(0, #problems, table.concat(problems, '\n\n'))
  end)
end)
