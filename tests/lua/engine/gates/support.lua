--- What the specs of gates share: an engine with a playbook, plans about pods and Deployments, and
--- what the gates say of them.
local clock = require 'perigee.clock'
local guardrails = require 'engine.guardrails'
local plans = require 'engine.plans'
local support = require 'lua.engine.support'

local gates = { tidy = support.tidy, still = support.still }

local RULES = [[
signal "a" { query = "a", detector = threshold { above = 1 } }
incident "odd" { signals = { "a" }, min_signals = 1 }
playbook "mend" { when = incident "odd", trust = "auto",
  plan = { http.request { method = "POST", url = "http://shop/rollback" } } }
playbook "other" { when = incident "odd", trust = "auto",
  plan = { http.request { method = "POST", url = "http://shop/rollback" } } }
]]

--- An engine whose guardrails let everything pass, but for what is set.
function gates.engine(set)
  local values = { http = { { url_prefix = 'http://shop/' } }, dry_run = false, cooldown = '0s',
    max_actions_per_hour = 1000, namespaces = { 'shop' }, blast_radius = 1,
    limits = { namespace = { actions = 1000 } } }
  for k, v in pairs(set or {}) do values[k] = v end
  return support.engine { rules = RULES, config = { guardrails = values } }
end

--- Restarts a pod of the Deployment shop/checkout, or what is given.
function gates.restart(args)
  args = args or { pod = 'checkout-1' }
  args.namespace = args.namespace or 'shop'
  return { name = 'kubernetes.restart', args = args }
end

function gates.request(path)
  return { name = 'http.request',
    args = { method = 'POST', url = 'http://shop/' .. (path or 'x') } }
end

--- What a look at a pod of the Deployment has seen.
function gates.seen(replicas, ready, unavailable, workload)
  return { summary = 'restart a pod', replicas = replicas, ready = ready,
    unavailable = unavailable or 1, workload = workload or 'kubernetes/shop/Deployment/checkout' }
end

--- A plan; kept in the store when it has a state.
function gates.plan(engine, more)
  local p = { id = 'none', playbook = 'mend', target = 'shop', trust = 'auto',
    actions = { gates.restart() }, expires_at = clock.now() + 900 }
  for k, v in pairs(more or {}) do p[k] = v end
  if not p.previews then
    p.previews = {}
    for i in ipairs(p.actions) do p.previews[i] = gates.seen(10, 10) end
  end
  return p.state and plans.create(engine, p) or p
end

--- The gate that stops a plan, and its words.
function gates.of(engine, p, when, position)
  local refusal = guardrails[when or 'at_start'](engine, p, position or 1)
  return refusal and refusal.gate, refusal and refusal.message
end

--- An action in the journal, begun now.
function gates.done(engine, o)
  local id = o.plan or gates.plan(engine, { state = 'executed', playbook = o.playbook }).id
  engine.store:exec([[insert into actions (plan_id, position, direction, name, target, namespace,
    state, process, started_at, ended_at, outcome) values (?, ?, 'forward', ?, ?, ?, ?, 'p', ?, ?,
    '{}')]], id, o.position or 1, o.name or 'kubernetes.restart',
    o.target or 'kubernetes/shop/Pod/checkout-1', o.namespace or 'shop', o.state or 'succeeded',
    clock.now(), o.state ~= 'started' and clock.now() or nil)
  return id
end

return gates
