--- What the specs of actions on Kubernetes share: the stateful fake, the real client of it, a clock
--- that moves only when it is asked to, and actions carried out one part after the other.
local async = require 'async'
local check = require 'check'
local clock = require 'perigee.clock'
local engine = require 'lua.engine.support'
local fakes = require 'fakes.kubernetes'
local kubernetes = require 'kubernetes'
local kubernetes_support = require 'lua.kubernetes.support'
local registry = require 'actions.registry'

local support = {}

local started = {}

--- Stops what a spec has started.
function support.tidy()
  for _, fake in ipairs(started) do fake:stop() end
  started = {}
  kubernetes_support.tidy()
  engine.tidy()
end

--- A client of a fake, by a kubeconfig of its own.
---@param fake fakes.Kubernetes
---@param user? string  of the kubeconfig
function support.client(fake, user)
  return assert(kubernetes.client { kubeconfig = kubernetes_support.kubeconfig(fake.url, user) })
end

---@param options? fakes.KubernetesOptions
---@return fakes.Kubernetes
function support.fake(options)
  local fake = fakes.start(options)
  started[#started + 1] = fake
  return fake
end

--- Calls f in a task, and moves the clock as long as it takes.
---@param limit? integer  seconds
function support.patiently(f, limit)
  local out
  local task = async.spawn(function() out = table.pack(f()) end)
  for i = 1, (limit or 120) * 200 do
    engine.turns(1)
    if out then break end
    if i % 50 == 0 then clock.advance(0.25) end
  end
  task:await()
  return table.unpack(out, 1, out.n)
end

---@class fakes.Acting
---@field fake fakes.Kubernetes
---@field args table, context table, preview table

--- An action on a fake: its arguments checked, its preview and its other parts at hand.
---@param fake fakes.Kubernetes
---@param name string  "scale"
---@param arguments table
---@param config? table
function support.action(fake, name, arguments, config)
  local definition = registry.get('kubernetes.' .. name)
  local args, problems = check.apply(arguments, definition.spec)
  assert(#problems == 0, problems[1] and check.words(problems[1]))
  assert(not definition.check or not definition.check(args), definition.check
    and definition.check(args))
  local a = { definition = definition, args = args, context = {
    kubernetes = support.client(fake), config = config or {}, key = 'plan-1-1-forward',
    purpose = 'run', started_at = clock.now() } }
  for _, part in ipairs { 'run', 'settled', 'find_out', 'revert' } do
    a[part] = function(more)
      for k, v in pairs(more or {}) do a.context[k] = v end
      return support.patiently(function() return definition[part](args, a.context) end)
    end
  end

  --- The preview, of which the parts to come know what was before.
  function a.look()
    local seen, failure = support.patiently(function()
      return definition.preview(args, a.context)
    end)
    a.context.before = seen and seen.before
    return seen, failure
  end
  return a
end

--- What is wrong with arguments, in words; nil where nothing is.
function support.wrong(name, arguments)
  local definition = registry.get('kubernetes.' .. name)
  local args, problems = check.apply(arguments, definition.spec)
  if problems[1] then return check.words(problems[1]) end
  return definition.check and definition.check(args)
end

--- How many times something was changed by us, what is told of it (Events) apart.
function support.changes(fake)
  local n = 0
  for _, change in ipairs(fake:changes 'perigee') do
    if change.kind ~= 'Event' then n = n + 1 end
  end
  return n
end

--- What was told of the objects: "Deployment checkout Scaled: …", in order.
function support.events(fake)
  engine.turns(100)
  local out = {}
  for _, change in ipairs(fake:changes 'perigee') do
    local e = change.object
    if change.kind == 'Event' then
      out[#out + 1] = ('%s %s %s: %s'):format(e.involvedObject.kind, e.involvedObject.name,
        e.reason, e.message)
    end
  end
  return out
end

--- The pods of an app, in order of their names.
function support.pods(fake, app)
  local out = {}
  for _, pod in ipairs(fake:list('Pod', 'shop')) do
    if pod.metadata.labels.app == app and not pod.metadata.deletionTimestamp then
      out[#out + 1] = pod.metadata.name
    end
  end
  return out
end

return support
