--- What the Kubernetes fake makes of patches: RFC 7386, RFC 6902 and the strategic merge, whose
--- lists are merged by the keys that kubernetes_types.lua names. Nulls of objects are json.null.
local json = require 'json'
local status = require 'fakes.kubernetes_status'
local types = require 'fakes.kubernetes_types'

local patch = {}

local ARRAY = getmetatable(json.array {})

function patch.clone(v)
  if type(v) ~= 'table' then return v end
  local copy = {}
  for k, item in pairs(v) do copy[k] = patch.clone(item) end
  return setmetatable(copy, getmetatable(v))
end
local clone = patch.clone

function patch.equal(a, b)
  if type(a) ~= 'table' or type(b) ~= 'table' then return a == b end
  for k, v in pairs(a) do
    if not patch.equal(v, b[k]) then return false end
  end
  for k in pairs(b) do
    if a[k] == nil then return false end
  end
  return true
end

local function is_list(v)
  return type(v) == 'table' and (v[1] ~= nil or getmetatable(v) == ARRAY)
end
patch.is_list = is_list

local function is_object(v) return type(v) == 'table' and not is_list(v) end

--- Merges by RFC 7386; the target is changed.
function patch.merge(target, change)
  if not is_object(change) then return clone(change) end
  if not is_object(target) then target = {} end
  for k, v in pairs(change) do
    if v == json.null then
      target[k] = nil
    else
      target[k] = patch.merge(target[k], v)
    end
  end
  return target
end

-- -- strategic merge ------------------------------------------------------------------------------

local merge_object

local function position(list, key, value)
  for i, item in ipairs(list) do
    if type(item) == 'table' and item[key] == value then return i end
  end
end

--- The order that the server gives a merged list: the patch's own, with each item that only the
--- server has before the first of the patch that stood behind it; what is new comes first.
local function in_order(merged, before, change, key)
  local out, at = json.array(), 1
  for _, item in ipairs(change) do
    local i = position(merged, key, item[key])
    if i then out[#out + 1] = merged[i] end
  end
  for _, item in ipairs(merged) do
    if not position(change, key, item[key]) then
      local own = position(before, key, item[key])
      while out[at] and (position(before, key, out[at][key]) or 0) < own do at = at + 1 end
      table.insert(out, at, item)
      at = at + 1
    end
  end
  return out
end

local function merge_list(list, change, field)
  if change[1] and change[1]['$patch'] == 'replace' then
    return json.array(table.move(clone(change), 2, #change, 1, {}))
  end
  list = is_list(list) and list or json.array()
  local before = table.move(list, 1, #list, 1, {})
  for _, item in ipairs(change) do
    if type(item) ~= 'table' or item[field.key] == nil then
      status.bad_request(('map: %s does not contain declared merge key: %s')
        :format(json.encode(item), field.key))
    end
    local at = position(list, field.key, item[field.key])
    if item['$patch'] == 'delete' then
      if at then table.remove(list, at) end
    elseif at then
      list[at] = merge_object(list[at], item, field.type)
    else
      table.insert(list, merge_object({}, item, field.type))
    end
  end
  return in_order(list, before, change, field.key)
end

function merge_object(target, change, type_)
  if not is_object(change) then return clone(change) end
  if change['$patch'] == 'replace' then
    local new = clone(change)
    new['$patch'] = nil
    return new
  elseif change['$patch'] == 'delete' then
    return {}
  end
  if not is_object(target) then target = {} end
  local fields = types.fields[type_] or {}
  for k, v in pairs(change) do
    local field = fields[k]
    if v == json.null then
      target[k] = nil
    elseif k:sub(1, 1) == '$' then
      status.bad_request('a directive that this server does not know: ' .. k)
    elseif field and field.list and field.key and is_list(v) then
      target[k] = merge_list(target[k], v, field)
    else
      target[k] = merge_object(target[k], v, field and not field.list and field.type)
    end
  end
  return target
end

--- Merges by Kubernetes' own rules; the target is changed.
---@param type_ string  of the target
function patch.strategic(target, change, type_) return merge_object(target, change, type_) end

-- -- JSON Patch -----------------------------------------------------------------------------------

local function steps(pointer)
  if pointer ~= '' and pointer:sub(1, 1) ~= '/' then
    status.bad_request('JSON pointer should start with a slash: ' .. pointer)
  end
  local out = {}
  for step in pointer:gmatch '/([^/]*)' do
    out[#out + 1] = step:gsub('~1', '/'):gsub('~0', '~')
  end
  return out
end

--- The place in a list that a step names; one behind the end only where something is added.
local function index(list, step, op)
  if step == '-' and op == 'add' then return #list + 1 end
  local i = step:find '^%d+$' and tonumber(step) + 1
  if not i or i > #list + (op == 'add' and 1 or 0) then status.unprocessable() end
  return i
end

--- The table that holds what a pointer names, and its key there.
local function find(doc, pointer, op)
  local path = steps(pointer)
  local at = doc
  for i = 1, #path - 1 do
    if type(at) == 'table' then
      at = at[is_list(at) and index(at, path[i], op) or path[i]]
    end
    if type(at) ~= 'table' then status.unprocessable() end
  end
  local last = path[#path]
  if last and is_list(at) then last = index(at, last, op) end
  return at, last
end

local OPERATIONS = {}

function OPERATIONS.add(at, key, o)
  if is_list(at) then
    table.insert(at, key, clone(o.value))
  else
    at[key] = clone(o.value)
  end
end

function OPERATIONS.remove(at, key)
  if at[key] == nil then status.unprocessable() end
  if is_list(at) then table.remove(at, key) else at[key] = nil end
end

function OPERATIONS.replace(at, key, o)
  if at[key] == nil then status.unprocessable() end
  at[key] = clone(o.value)
end

function OPERATIONS.test(at, key, o)
  local expected = o.value ~= json.null and o.value or nil
  if not patch.equal(at[key], expected) then status.unprocessable() end
end

local function move(doc, o)
  local at, key = find(doc, o.from, o.op)
  local value = at[key]
  if value == nil then status.unprocessable() end
  if o.op == 'move' then OPERATIONS.remove(at, key) end
  local to, place = find(doc, o.path, 'add')
  OPERATIONS.add(to, place, { value = value })
end

--- Applies operations in order; the document is changed.
function patch.json(doc, operations)
  if not is_list(operations) then status.bad_request 'a JSON Patch is a list of operations' end
  for _, o in ipairs(operations) do
    local moves = type(o) == 'table' and (o.op == 'move' or o.op == 'copy')
    if type(o) ~= 'table' or type(o.path) ~= 'string' or moves and type(o.from) ~= 'string' then
      status.bad_request 'a JSON Patch operation has a path'
    end
    if moves then
      move(doc, o)
    elseif not OPERATIONS[o.op] then
      status.unprocessable()
    else
      local at, key = find(doc, o.path, o.op)
      if key == nil then status.unprocessable() end -- the document as a whole
      OPERATIONS[o.op](at, key, o)
    end
  end
  return doc
end

return patch
