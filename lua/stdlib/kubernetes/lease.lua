--- A Lease: which of several replicas does what only one may do. Others' leases are believed to
--- have run out by our own monotonic clock, since we saw them change last; their times are only
--- told. A lease does not fence: who was held up may still write once, so every action has
--- preconditions of its own.
local check = require 'check'
local clock = require 'perigee.clock'
local log = require 'log'
local names = require 'kubernetes.names'
local task = require 'perigee.task'

local lease = {}

local name_rule = { test = names.check }

local SPEC = {
  namespace = check.required { test = names.check_namespace },
  name = check.required(name_rule),
  holder = check.required(check.string()),
  duration = check.number(15, { min = 1, max = 3600, integer = true }),
  renew_within = check.number(10, { above = 0 }), -- without a renewal it is ours no longer
  retry = check.number(2, { above = 0 }),
}

local JITTER = 1.2 -- of `retry`: one to 2.2 times as long

---@class kubernetes.Lease
---@field held fun(self): boolean  whether it is ours now; asked before each act
---@field try fun(self): boolean   takes or renews it, if that can be done; then whether it is ours
---@field run fun(self, on_change: fun(held: boolean))  does so for ever, and tells of changes
---@field release fun(self): boolean?, kubernetes.Failure?  lets others have it at once
local Lease = {}
Lease.__index = Lease

--- RFC 3339 with exactly six decimals, as a Lease has its times.
local function micro_time() return (clock.text(clock.now()):gsub('(%.%d%d%d)Z$', '%1000Z')) end

function Lease:held()
  return self.renewed ~= nil and clock.monotonic() - self.renewed < self.options.renew_within
end

--- The object as it will be; `object` is what was read, or nil.
local function ours(self, object)
  local o, now = self.options, micro_time()
  local spec = object and object.spec or {}
  local is_new = spec.holderIdentity ~= o.holder
  return { apiVersion = 'coordination.k8s.io/v1', kind = 'Lease',
    metadata = object and object.metadata or { name = o.name, namespace = o.namespace },
    spec = { holderIdentity = o.holder, leaseDurationSeconds = o.duration, renewTime = now,
      acquireTime = is_new and now or spec.acquireTime or now,
      leaseTransitions = (math.tointeger(spec.leaseTransitions) or 0)
        + (object and is_new and 1 or 0) } }
end

--- Whether somebody else has it. Each change that is seen begins their time anew.
local function is_taken(self, object)
  local spec = type(object.spec) == 'table' and object.spec or {}
  local holder = spec.holderIdentity
  if type(holder) ~= 'string' or holder == '' or holder == self.options.holder then return false end
  local version = object.metadata.resourceVersion
  if version ~= self.seen_version then
    self.seen_version, self.seen_at = version, clock.monotonic()
  end
  return clock.monotonic() - self.seen_at < (tonumber(spec.leaseDurationSeconds) or 15)
end

local function attempt(self)
  local o, k, from = self.options, self.client, clock.monotonic()
  local object, failure = k:get('leases', o.namespace, o.name)
  local written
  if object then
    if type(object.metadata) ~= 'table' or is_taken(self, object) then
      self.renewed = nil
      return true
    end
    -- It has the resourceVersion that was read: where another was faster, that is a 409.
    written, failure = k:update('leases', o.namespace, o.name, ours(self, object))
  elseif failure.status == 404 then
    written, failure = k:create('leases', o.namespace, ours(self))
  end
  if not written then
    if failure.status == 409 then self.renewed = nil end
    return nil, failure
  end
  self.renewed = from -- from before we asked: what took long does not count for us
  return true
end

function Lease:try()
  local ok, failure = attempt(self)
  self.failure = failure
  if not ok and failure.status ~= 409 then
    log.warn('a lease cannot be taken or renewed', { name = self.options.name,
      namespace = self.options.namespace, reason = failure.message })
  end
  return self:held()
end

function Lease:run(on_change)
  local before = false
  while true do
    local held = self:try()
    if held ~= before then
      before = held
      log.info(held and 'lease taken' or 'lease lost', { name = self.options.name,
        namespace = self.options.namespace, holder = self.options.holder })
      on_change(held)
    end
    task.sleep(self.options.retry * (1 + JITTER * math.random()))
  end
end

function Lease:release()
  if not self:held() then return true end
  local o, k = self.options, self.client
  self.renewed = nil
  local object, failure = k:get('leases', o.namespace, o.name)
  if not object then return nil, failure end
  if type(object.spec) ~= 'table' or object.spec.holderIdentity ~= o.holder then return true end
  local freed = ours(self, object)
  freed.spec.holderIdentity, freed.spec.leaseDurationSeconds = '', 1
  local written
  written, failure = k:update('leases', o.namespace, o.name, freed)
  return written and true, failure
end

--- A lease that nothing has been done about yet.
---@param client kubernetes.Client
---@param options { namespace: string, name: string, holder: string, duration?: integer,
---    renew_within?: number, retry?: number }  seconds; 15, 10, 2
---@return kubernetes.Lease
function lease.new(client, options)
  local o = check.options('kubernetes lease', options, SPEC)
  if o.renew_within >= o.duration then
    error('kubernetes lease: renew_within: must be less than duration', 3)
  end
  return setmetatable({ client = client, options = o }, Lease)
end

return lease
