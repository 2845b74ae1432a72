--- Who owns which fields of an object of the Kubernetes fake (metadata.managedFields), and server
--- side apply, which lives by it. A path is its steps, as in fieldsV1, with line feeds between.
local json = require 'json'
local patch = require 'fakes.kubernetes_patch'
local status = require 'fakes.kubernetes_status'
local types = require 'fakes.kubernetes_types'

local fields = {}

-- What the server alone writes has no owner.
local UNOWNED = { ['f:apiVersion'] = true, ['f:kind'] = true }
for _, name in ipairs { 'name', 'namespace', 'uid', 'resourceVersion', 'generation',
  'creationTimestamp', 'managedFields', 'deletionTimestamp', 'deletionGracePeriodSeconds',
  'generateName', 'selfLink' } do
  UNOWNED['f:metadata\nf:' .. name] = true
end

local collect

local function collect_list(list, field, path, out)
  for _, item in ipairs(list) do
    local key = { [field.key] = item[field.key] }
    if field.type == 'ContainerPort' then key.protocol = item.protocol or 'TCP' end
    collect(item, field.type, path .. '\nk:' .. json.encode(key), out)
  end
end

function collect(object, type_, path, out)
  local known = types.fields[type_] or {}
  for name, v in pairs(object) do
    local field = known[name]
    local at = (path == '' and '' or path .. '\n') .. 'f:' .. name
    if UNOWNED[at] then
      goto continue
    elseif field and field.list and field.key and #v > 0 then
      collect_list(v, field, at, out)
    elseif type(v) == 'table' and not patch.is_list(v) and next(v) ~= nil then
      collect(v, field and field.type, at, out)
    else
      out[at] = json.encode(v)
    end
    ::continue::
  end
end

--- The leaves of an object: their values as JSON, by path.
function fields.leaves(object, type_)
  local out = {}
  collect(object, type_, '', out)
  return out
end

-- -- fieldsV1 -------------------------------------------------------------------------------------

local function encode(set)
  local root = {}
  for path in pairs(set) do
    local at = root
    for step in path:gmatch '[^\n]+' do
      at[step] = at[step] or {}
      at = at[step]
    end
  end
  return root
end

local function decode(node, path, out)
  for step, inner in pairs(node) do
    local at = path == '' and step or path .. '\n' .. step
    if next(inner) == nil then
      if step ~= '.' then out[at] = true end
    else
      decode(inner, at, out)
    end
  end
  return out
end

local function sets_of(object)
  local sets = {}
  for i, e in ipairs(object.metadata.managedFields or {}) do
    sets[i] = { entry = e, set = decode(e.fieldsV1 or {}, '', {}) }
  end
  return sets
end

local function store(object, sets)
  local entries = json.array()
  for _, s in ipairs(sets) do
    if next(s.set) ~= nil then
      s.entry = patch.clone(s.entry)
      s.entry.fieldsV1 = encode(s.set)
      table.insert(entries, s.entry)
    end
  end
  object.metadata.managedFields = entries
end

---@class fakes.By  who writes
---@field manager string
---@field operation? string    "Update"
---@field subresource? string
---@field time string

local function own_set(sets, by, api_version)
  for _, s in ipairs(sets) do
    local e = s.entry
    if e.manager == by.manager and e.operation == (by.operation or 'Update')
      and e.subresource == by.subresource then
      return s
    end
  end
  local s = { set = {}, entry = { manager = by.manager, operation = by.operation or 'Update',
    subresource = by.subresource, apiVersion = api_version, fieldsType = 'FieldsV1' } }
  table.insert(sets, s)
  return s
end

--- What a write makes of the owners: who writes a field owns it, and nobody else.
---@param old table?
---@param new table   changed
---@param by fakes.By
function fields.update(old, new, type_, by)
  local before = old and fields.leaves(old, type_) or {}
  local after = fields.leaves(new, type_)
  local sets = sets_of(old or new)
  local own
  local function changed(path, is_there)
    own = own or own_set(sets, by, new.apiVersion)
    for _, s in ipairs(sets) do s.set[path] = nil end
    own.set[path] = is_there or nil
  end
  for path, v in pairs(after) do
    if before[path] ~= v then changed(path, true) end
  end
  for path in pairs(before) do
    if after[path] == nil then changed(path, false) end
  end
  if own then own.entry.time = by.time end
  store(new, sets)
end

-- -- apply ----------------------------------------------------------------------------------------

local function dotted(path)
  return '.' .. path:gsub('\nk:(%b{})', function(key) return '[' .. key .. ']' end)
    :gsub('\n', '.'):gsub('f:', '')
end

local function conflicts_of(sets, own, config, before)
  local causes = json.array()
  for path, v in pairs(config) do
    for _, s in ipairs(sets) do
      if s ~= own and s.set[path] and before[path] ~= v then
        table.insert(causes, { reason = 'FieldManagerConflict', field = dotted(path),
          message = ('conflict with "%s"%s using %s'):format(s.entry.manager, s.entry.subresource
            and ' with subresource "' .. s.entry.subresource .. '"' or '', s.entry.apiVersion) })
      end
    end
  end
  table.sort(causes, function(a, b) return a.field < b.field end)
  return causes
end

local function remove(object, path)
  local at, holder, place = object, nil, nil
  local steps = {}
  for step in path:gmatch '[^\n]+' do steps[#steps + 1] = step end
  for i, step in ipairs(steps) do
    if type(at) ~= 'table' then return end
    local key = step:match '^f:(.*)$'
    if key then
      if i == #steps then
        if steps[i - 1] and steps[i - 1]:sub(1, 2) == 'k:'
          and json.decode(steps[i - 1]:sub(3))[key] ~= nil then
          return holder and table.remove(holder, place) -- an item goes with its key
        end
        at[key] = nil
        return
      end
      at = at[key]
    else
      holder, place = at, nil
      for n, item in ipairs(at) do
        local matches = true
        for k, v in pairs(json.decode(step:sub(3))) do
          matches = matches and (item[k] or k == 'protocol' and 'TCP') == v
        end
        if matches then place = n end
      end
      if not place then return end
      at = at[place]
    end
  end
end

local function raise_conflicts(causes)
  local words = {}
  for i, c in ipairs(causes) do words[i] = ('%s: %s'):format(c.message, c.field) end
  status.fail(409, 'Conflict', ('Apply failed with %d conflict%s: %s'):format(#causes,
    #causes == 1 and '' or 's', table.concat(words, '; ')), { causes = causes })
end

--- The object that applying a configuration makes, with its owners.
---@param old table?
---@param config table
---@param by fakes.By
---@param force boolean
function fields.apply(old, config, type_, by, force)
  local wanted = fields.leaves(config, type_)
  local new = old and patch.clone(old) or patch.clone(config)
  local before = old and fields.leaves(old, type_) or {}
  local sets = sets_of(new)
  local own = own_set(sets, { manager = by.manager, operation = 'Apply',
    subresource = by.subresource }, config.apiVersion)
  local causes = conflicts_of(sets, own, wanted, before)
  if #causes > 0 and not force then raise_conflicts(causes) end
  if old then new = patch.strategic(new, config, type_) end
  for path in pairs(own.set) do
    local shared = wanted[path] ~= nil
    for _, s in ipairs(sets) do shared = shared or s ~= own and s.set[path] end
    if not shared then remove(new, path) end
  end
  own.set = {}
  for path, v in pairs(wanted) do
    for _, s in ipairs(sets) do
      if before[path] ~= v then s.set[path] = nil end
    end
    own.set[path] = true
  end
  own.entry.time = by.time
  store(new, sets)
  return new
end

return fields
