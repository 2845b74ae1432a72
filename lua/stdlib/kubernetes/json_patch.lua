--- JSON Pointers (RFC 6901) and the operations of a JSON Patch (RFC 6902) that a plan may hold,
--- with what undoes them. Paths are lists of steps.
local check = require 'check'
local json = require 'perigee.json'

local json_patch = {}

--- The steps of a pointer, or nil and what is wrong with it.
---@param text any
---@return string[]? steps
---@return string? message
function json_patch.steps(text)
  if type(text) ~= 'string' or text:sub(1, 1) ~= '/' or text:find '~[^01]' or text:find '~$' then
    return nil, check.expected('a path such as "/spec/template/spec"', text)
  end
  local out = {}
  for step in (text:sub(2) .. '/'):gmatch '(.-)/' do
    if step == '' then return nil, check.expected('a path without empty steps', text) end
    out[#out + 1] = step:gsub('~1', '/'):gsub('~0', '~')
  end
  return out
end

--- What is wrong with a pointer, or nil.
function json_patch.check(text) return (select(2, json_patch.steps(text))) end

---@param steps string[]
---@return string
function json_patch.text(steps)
  local out = {}
  for i, step in ipairs(steps) do out[i] = step:gsub('~', '~0'):gsub('/', '~1') end
  return '/' .. table.concat(out, '/')
end

--- Only arrays have a metatable, also while they are empty: see json.array().
local function is_list(value)
  return type(value) == 'table' and (value[1] ~= nil or getmetatable(value) ~= nil)
end

--- The key that a step stands for in a table, or nil.
local function key_of(parent, step)
  if not is_list(parent) then return step end
  local i = step:find '^%d+$' and math.tointeger(tonumber(step))
  return i and i + 1
end

--- The value at a path, or nil.
function json_patch.get(value, steps)
  for _, step in ipairs(steps) do
    if type(value) ~= 'table' then return nil end
    value = value[key_of(value, step)]
  end
  return value
end

--- A value of its own.
function json_patch.copy(value)
  if type(value) ~= 'table' then return value end
  return json.decode(json.encode(value))
end

--- The path as far as the first list on its way: what shows whether somebody else has been there,
--- for positions in a list shift.
---@param object table
---@param steps string[]
---@return string[]
function json_patch.root(object, steps)
  local out, value = {}, object
  for _, step in ipairs(steps) do
    if is_list(value) then return out end
    out[#out + 1] = step
    value = type(value) == 'table' and value[step] or nil
  end
  return out
end

--- The operations that make of an object what a merge patch would.
---@param object table
---@param patch table
---@return { op: string, path: string[], value: any }[]
function json_patch.of_merge(object, patch)
  local out = {}
  local function walk(at, value, path)
    for _, name in ipairs(check.names(value)) do
      local here = table.move(path, 1, #path, 1, {})
      here[#here + 1] = name
      local old, new = at[name], value[name]
      if type(new) == 'table' and not is_list(new) and type(old) == 'table' and not is_list(old)
        and next(new) ~= nil then
        walk(old, new, here)
      else
        out[#out + 1] = { op = old == nil and 'add' or 'replace', path = here, value = new }
      end
    end
  end
  walk(object, patch, {})
  return out
end

local APPLY = {}

function APPLY.add(parent, key, value)
  if is_list(parent) then
    table.insert(parent, key, value)
    return { op = 'remove' }
  end
  local old = parent[key]
  parent[key] = value
  return old == nil and { op = 'remove' } or { op = 'replace', value = old }
end

function APPLY.replace(parent, key, value)
  local old = parent[key]
  if old == nil then return nil end
  parent[key] = value
  return { op = 'replace', value = old }
end

function APPLY.remove(parent, key)
  local old = parent[key]
  if old == nil then return nil end
  if is_list(parent) then table.remove(parent, key) else parent[key] = nil end
  return { op = 'add', value = old }
end

--- Carries out operations on a copy of an object, to learn what undoes them.
---@param object table
---@param operations { op: string, path: string[], value: any }[]
---@return { op: string, path: string[], value: any }[]? inverse  in the order in which to do them
---@return string? message
function json_patch.inverse(object, operations)
  local copy, out = json_patch.copy(object), {}
  for _, operation in ipairs(operations) do
    local path = table.move(operation.path, 1, #operation.path, 1, {})
    local last = table.remove(path)
    local parent = json_patch.get(copy, path)
    if type(parent) ~= 'table' then
      return nil, ('there is no %s'):format(json_patch.text(path))
    end
    if last == '-' then last = tostring(#parent) end
    local key = key_of(parent, last)
    if not key or is_list(parent) and key > #parent + 1 then
      return nil, ('there is no %s'):format(json_patch.text(operation.path))
    end
    local undo = APPLY[operation.op](parent, key, json_patch.copy(operation.value))
    if not undo then return nil, ('there is no %s'):format(json_patch.text(operation.path)) end
    path[#path + 1] = last
    undo.path = path
    table.insert(out, 1, undo)
  end
  return out
end

--- Operations as they are sent, made from one version of the object alone.
---@param operations { op: string, path: string[], value: any }[]
---@param version? string
---@return table
function json_patch.body(operations, version)
  local out = json.array()
  if version then
    out[1] = { op = 'replace', path = '/metadata/resourceVersion', value = version }
  end
  for _, o in ipairs(operations) do
    out[#out + 1] = { op = o.op, path = json_patch.text(o.path), value = o.value }
  end
  return out
end

return json_patch
