--- Label and field selectors of the Kubernetes fake.
local status = require 'fakes.kubernetes_status'

local select_ = {}

local function trim(text) return text:match '^%s*(.-)%s*$' end

--- The parts between commas that are not in parentheses.
local function parts(text)
  local out, depth, from = {}, 0, 1
  for i = 1, #text + 1 do
    local c = text:sub(i, i)
    if c == '(' then depth = depth + 1 end
    if c == ')' then depth = depth - 1 end
    if (c == ',' or c == '') and depth == 0 then
      local part = trim(text:sub(from, i - 1))
      if part ~= '' then out[#out + 1] = part end
      from = i + 1
    end
  end
  return out
end

local function set_of(text)
  local set = {}
  for value in text:gmatch '[^,]+' do set[trim(value)] = true end
  return set
end

local function requirement(part)
  local key, op, values = part:match '^(%S+)%s+(n?o?t?in)%s*%((.*)%)$'
  if key then
    local set = set_of(values)
    if op == 'in' then return function(l) return l[key] ~= nil and set[l[key]] == true end end
    return function(l) return l[key] == nil or not set[l[key]] end
  end
  key, values = part:match '^([^=!%s]+)%s*==?%s*([^=]*)$'
  if key then return function(l) return l[key] == values end end
  key, values = part:match '^([^=!%s]+)%s*!=%s*(.*)$'
  if key then return function(l) return l[key] ~= values end end
  key = part:match '^!%s*([^%s=]+)$'
  if key then return function(l) return l[key] == nil end end
  key = part:match '^[%w/._-]+$'
  if key then return function(l) return l[key] ~= nil end end
  status.bad_request(('unable to parse requirement: %s'):format(part))
end

local function all(tests)
  return function(v)
    for _, test in ipairs(tests) do
      if not test(v) then return false end
    end
    return true
  end
end

--- A test of objects by a labelSelector's text.
---@return fun(object: table): boolean
function select_.labels(text)
  local tests = {}
  for i, part in ipairs(parts(text or '')) do tests[i] = requirement(part) end
  local holds = all(tests)
  return function(object) return holds(object.metadata.labels or {}) end
end

--- A test of labels by a LabelSelector object; one that is empty chooses all, none chooses nothing.
function select_.selector(s)
  if not s then return function() return false end end
  local tests = {}
  for k, v in pairs(s.matchLabels or {}) do
    tests[#tests + 1] = function(l) return l[k] == v end
  end
  for _, e in ipairs(s.matchExpressions or {}) do
    tests[#tests + 1] = requirement(({ In = '%s in (%s)', NotIn = '%s notin (%s)', Exists = '%s',
      DoesNotExist = '!%s' })[e.operator]:format(e.key, table.concat(e.values or {}, ',')))
  end
  return all(tests)
end

--- The text of a LabelSelector, as a Scale's status gives it.
function select_.text(s)
  local out = {}
  for k, v in pairs(s.matchLabels or {}) do out[#out + 1] = k .. '=' .. v end
  table.sort(out)
  return table.concat(out, ',')
end

local FIELDS = { ['metadata.name'] = true, ['metadata.namespace'] = true,
  Pod = { ['spec.nodeName'] = true, ['status.phase'] = true, ['spec.restartPolicy'] = true,
    ['status.podIP'] = true, ['spec.serviceAccountName'] = true },
  Event = { reason = true, type = true, ['involvedObject.name'] = true,
    ['involvedObject.kind'] = true, ['involvedObject.namespace'] = true,
    ['involvedObject.uid'] = true, ['reportingComponent'] = true },
  Node = { ['spec.unschedulable'] = true }, ReplicaSet = { ['status.replicas'] = true } }

--- A test of objects by a fieldSelector's text; fields that the server has no index of are refused.
function select_.fields(text, resource)
  local tests = {}
  for i, part in ipairs(parts(text or '')) do
    local path, op, value = part:match '^([%w.]+)(!?=?=)(.*)$'
    if not path or not (FIELDS[path] or (FIELDS[resource.kind] or {})[path]) then
      status.bad_request(('field label not supported: %s'):format(path or part))
    end
    tests[i] = function(object)
      local at = object
      for step in path:gmatch '[^.]+' do at = type(at) == 'table' and at[step] or nil end
      return (tostring(at == nil and '' or at) == value) == (op ~= '!=')
    end
  end
  return all(tests)
end

return select_
