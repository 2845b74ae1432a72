--- The objects of the Kubernetes fake: versions, what has changed since, who waits for changes. An
--- object in here is never changed but replaced.
local async = require 'async'
local fields = require 'fakes.kubernetes_fields'
local hash = require 'perigee.hash'
local patch = require 'fakes.kubernetes_patch'
local status = require 'fakes.kubernetes_status'
local types = require 'fakes.kubernetes_types'

local Store = {}
Store.__index = Store

---@class fakes.Change
---@field version integer, type string    "ADDED", "MODIFIED", "DELETED"
---@field resource fakes.Resource, object table, before? table
---@field manager string                  who has made it

---@param now fun(): number
function Store.new(now)
  local self = setmetatable({ now = now, version = 1000, compacted = 1000, made = 0, objects = {},
    history = {}, changes = {}, waiting = {}, changed = function() end }, Store)
  for _, r in ipairs(types.resources) do self.objects[r.short] = {} end
  return self
end

--- The time as objects have it.
function Store:time(at) return os.date('!%Y-%m-%dT%H:%M:%SZ', math.floor(at or self.now())) end

--- Letters and digits that are another time's never.
function Store:unique(length)
  self.made = self.made + 1
  return (hash.sha256('object ' .. self.made):sub(1, length):gsub('[aeiou01]', { a = 'x', e = 'z',
    ['0'] = 'k', ['1'] = 'p' }))
end

local function uid(n)
  local h = hash.sha256('uid ' .. n)
  return ('%s-%s-4%s-8%s-%s'):format(h:sub(1, 8), h:sub(9, 12), h:sub(13, 15), h:sub(16, 18),
    h:sub(19, 30))
end

local function key_of(object)
  return (object.metadata.namespace or '') .. '/' .. object.metadata.name
end

---@param resource fakes.Resource
---@return table? object  not to be changed
function Store:get(resource, namespace, name)
  return self.objects[resource.short][(namespace or '') .. '/' .. name]
end

--- The same by kind, for controllers.
function Store:find(kind, namespace, name)
  return self:get(types.by_kind[kind], namespace, name)
end

--- The objects of a resource in order, of one namespace or of all.
---@return table[]
function Store:list(resource, namespace)
  local out = {}
  for _, object in pairs(self.objects[resource.short]) do
    if not namespace or object.metadata.namespace == namespace then out[#out + 1] = object end
  end
  table.sort(out, function(a, b) return key_of(a) < key_of(b) end)
  return out
end

function Store:all(kind, namespace) return self:list(types.by_kind[kind], namespace) end

-- -- changes --------------------------------------------------------------------------------------

local function note(self, type_, resource, object, before, by)
  local change = { version = self.version, type = type_, resource = resource, object = object,
    before = before, manager = by.manager }
  table.insert(self.history, change)
  table.insert(self.changes, change)
  for event in pairs(self.waiting) do event:set() end
  self.changed(resource)
end

local function by_now(self, by)
  return { manager = by.manager, operation = by.operation, subresource = by.subresource,
    time = self:time() }
end

--- Stores a new object. Its name may come from generateName.
---@param object table     becomes the store's
---@param by fakes.By
---@param dry? boolean     nothing is stored
---@return table object
function Store:create(resource, object, by, dry)
  local m = object.metadata
  if not m.name and m.generateName then m.name = m.generateName .. self:unique(5) end
  if not m.name or m.name == '' then
    status.invalid(resource, '', { { field = 'metadata.name', reason = 'FieldValueRequired',
      message = 'Required value: name or generateName is required' } })
  end
  if self:get(resource, m.namespace, m.name) then status.exists(resource, m.name) end
  self.made = self.made + 1
  m.uid, m.creationTimestamp = uid(self.made), self:time()
  m.generation = resource.generation and 1 or nil
  if by.operation ~= 'Apply' then fields.update(nil, object, resource.kind, by_now(self, by)) end
  if dry then
    m.resourceVersion = nil
    return object
  end
  self.version = self.version + 1
  m.resourceVersion = tostring(self.version)
  self.objects[resource.short][key_of(object)] = object
  note(self, 'ADDED', resource, object, nil, by)
  return object
end

local BESIDES = { resourceVersion = true, managedFields = true }

--- Whether two versions of an object say the same.
local function same(a, b)
  for _, pair in ipairs { { a, b }, { b, a } } do
    for k, v in pairs(pair[1]) do
      if k ~= 'metadata' and not patch.equal(v, pair[2][k]) then return false end
    end
    for k, v in pairs(pair[1].metadata) do
      if not BESIDES[k] and not patch.equal(v, pair[2].metadata[k]) then return false end
    end
  end
  return true
end

--- Whether the two have the same owners, whenever they came to own.
local function same_owners(a, b)
  local function plain(object)
    local entries = patch.clone(object.metadata.managedFields or {})
    for _, e in ipairs(entries) do e.time = nil end
    return entries
  end
  return patch.equal(plain(a), plain(b))
end

--- Stores an object in another's place. What changes nothing is no change. One that is being
--- deleted goes with its last finalizer.
---@param old table
---@param new table        becomes the store's
---@param by fakes.By
---@param dry? boolean     nothing is stored
---@return table object
function Store:replace(resource, old, new, by, dry)
  local m = new.metadata
  for _, name in ipairs { 'uid', 'creationTimestamp', 'generation', 'name', 'namespace' } do
    m[name] = old.metadata[name]
  end
  if by.operation ~= 'Apply' then
    if same(old, new) then return old end
    fields.update(old, new, resource.kind, by_now(self, by))
  elseif same(old, new) and same_owners(old, new) then
    return old
  end
  if resource.generation and not patch.equal(old.spec, new.spec) then
    m.generation = (m.generation or 1) + 1
  end
  m.resourceVersion = old.metadata.resourceVersion
  if dry then return new end
  if m.deletionTimestamp and old.metadata.finalizers and #(m.finalizers or {}) == 0 then
    return self:remove(resource, new, by)
  end
  self.version = self.version + 1
  m.resourceVersion = tostring(self.version)
  self.objects[resource.short][key_of(new)] = new
  note(self, 'MODIFIED', resource, new, old, by)
  return new
end

--- Takes an object away.
---@return table object  as it was last
function Store:remove(resource, object, by)
  self.objects[resource.short][key_of(object)] = nil
  local last = patch.clone(object)
  self.version = self.version + 1
  last.metadata.resourceVersion = tostring(self.version)
  note(self, 'DELETED', resource, last, object, by)
  return last
end

--- Marks an object as being deleted.
function Store:mark_deleted(resource, object, by, grace)
  local new = patch.clone(object)
  new.metadata.deletionTimestamp = self:time(self.now() + grace)
  new.metadata.deletionGracePeriodSeconds = math.tointeger(grace)
  return self:replace(resource, object, new, by)
end

-- -- watching -------------------------------------------------------------------------------------

--- Forgets what has happened so far: whoever asks for it is told that it is gone.
function Store:compact()
  self.history, self.compacted = {}, self.version
end

--- Waits until something has changed, at most so long. Returns whether something has.
function Store:wait(version, seconds)
  if self.version > version then return true end
  local event = async.event()
  local entry <close> = setmetatable({}, { __close = function() self.waiting[event] = nil end })
  self.waiting[event] = entry
  return event:wait(seconds)
end

return Store
