--- What an action on Kubernetes acts on: exactly one object, named in its arguments by the word for
--- its kind, as in { namespace = "shop", deployment = "checkout" }.
local check = require 'check'
local names = require 'kubernetes.names'

local target = {}

---@class kubernetes.Target
---@field kind string       as Kubernetes spells it: "Deployment"
---@field resource string   what the client calls it: "deployments"
---@field namespace? string nil for what lies in none
---@field name string

local KINDS = {
  pod = { kind = 'Pod', resource = 'pods' },
  deployment = { kind = 'Deployment', resource = 'deployments' },
  statefulset = { kind = 'StatefulSet', resource = 'statefulsets' },
  daemonset = { kind = 'DaemonSet', resource = 'daemonsets' },
  node = { kind = 'Node', resource = 'nodes' },
}

target.NAME = { test = names.check }
target.NAMESPACE = { test = names.check_namespace }
--- How long what has been begun may take to settle.
target.TIMEOUT = check.duration('5m', { min = 1 })

--- "Deployment shop/checkout"
---@param t kubernetes.Target
function target.text(t)
  return ('%s %s%s'):format(t.kind, t.namespace and t.namespace .. '/' or '', t.name)
end

--- The parts of an action that its target decides.
---@param words string[]  the kinds it knows, of which one must be given
---@return { fields: table, check: function, target: function, scope: function, of: function }
function target.one_of(words)
  local one = { fields = {} }
  for _, word in ipairs(words) do
    one.fields[word] = target.NAME
    if word ~= 'node' then one.fields.namespace = check.required(target.NAMESPACE) end
  end

  ---@return kubernetes.Target
  function one.of(args)
    for _, word in ipairs(words) do
      if args[word] then
        return { kind = KINDS[word].kind, resource = KINDS[word].resource,
          namespace = args.namespace, name = args[word] }
      end
    end
  end

  function one.check(args)
    local n = 0
    for _, word in ipairs(words) do n = n + (args[word] and 1 or 0) end
    if n ~= 1 then
      return ('exactly one of %s is needed: what it acts on'):format(table.concat(words, ', '))
    end
  end

  one.target = function(args) return target.path(one.of(args)) end
  one.scope = function(args)
    local t = one.of(args)
    return { namespace = t.namespace, kind = t.kind, name = t.name }
  end
  return one
end

--- "kubernetes/shop/Deployment/checkout": what cooldowns and the journal know it by.
---@param t kubernetes.Target
function target.path(t)
  return ('kubernetes/%s%s/%s'):format(t.namespace and t.namespace .. '/' or '', t.kind, t.name)
end

return target
