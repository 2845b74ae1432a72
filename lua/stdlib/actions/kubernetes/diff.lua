--- What two versions of an object have different, one line a field, short enough to be shown to a
--- person who decides. Values that by their names are secrets are not shown.
local excerpt = require 'excerpt'
local json = require 'perigee.json'

local diff = {}

local MAX_TEXT, MAX_VALUE = 4096, 160 -- bytes

-- What every write changes by itself, and what repeats the whole object.
local LEFT_OUT = { ['metadata.managedFields'] = true, ['metadata.resourceVersion'] = true,
  ['metadata.generation'] = true, ['metadata.creationTimestamp'] = true, ['status'] = true,
  ['metadata.annotations[kubectl.kubernetes.io/last-applied-configuration]'] = true }

local SECRETS = { 'passw', 'secret', 'token', 'credential', 'api[_%-]?key', 'private[_%-]?key' }

local function cut(text)
  local head = excerpt.line(text, MAX_VALUE)
  return #text > MAX_VALUE and head .. '…' or head
end

--- Whether what a path leads to should not be read by everybody: a variable or a key by its name.
local function is_secret(path, kind)
  if kind == 'Secret' and path:find '^[%a]*[dD]ata' then return true end
  local name = path:match '%[([^%]]*)%]%.value$' or path:match '%[([^%]]*)%]$'
    or path:match '^data%.([%w_]+)$'
  for _, pattern in ipairs(name and SECRETS or {}) do
    if name:lower():find(pattern) then return true end
  end
  return false
end

--- What an item of a list is known by: its name where all have one of their own, else its position.
local function item_names(list)
  local out, seen = {}, {}
  for i, item in ipairs(list) do
    local name = type(item) == 'table' and item.name
    if type(name) ~= 'string' or seen[name] then
      for j = 1, #list do out[j] = tostring(j - 1) end
      return out
    end
    out[i], seen[name] = name, true
  end
  return out
end

--- Every value of an object by its path.
local function flatten(value, path, out)
  if LEFT_OUT[path] then return out end
  if type(value) ~= 'table' or next(value) == nil then
    out[path] = json.encode(value)
  elseif value[1] ~= nil then
    local names = item_names(value)
    for i, item in ipairs(value) do flatten(item, ('%s[%s]'):format(path, names[i]), out) end
  else
    for name, item in pairs(value) do
      local plain = name:find '^[%w_]+$'
      local step = plain and (path == '' and name or '.' .. name) or ('[%s]'):format(name)
      flatten(item, path .. step, out)
    end
  end
  return out
end

local function line(path, was, is, hidden)
  if hidden then was, is = was and '(hidden)', is and '(hidden)' end
  path = cut(path)
  if not was then return ('+ %s: %s'):format(path, cut(is)) end
  if not is then return ('- %s: %s'):format(path, cut(was)) end
  return ('  %s: %s → %s'):format(path, cut(was), cut(is))
end

--- The lines in which two versions differ, by path; "" where they do not.
---@param old table
---@param new table
---@return string
function diff.text(old, new)
  local was, is, paths, seen = flatten(old, '', {}), flatten(new, '', {}), {}, {}
  for _, set in ipairs { was, is } do
    for path in pairs(set) do
      if was[path] ~= is[path] and not seen[path] then
        paths[#paths + 1], seen[path] = path, true
      end
    end
  end
  table.sort(paths)
  local lines, size = {}, 0
  for i, path in ipairs(paths) do
    local text = line(path, was[path], is[path], is_secret(path, new.kind))
    size = size + #text + 1
    if size > MAX_TEXT - 40 then
      lines[i] = ('… and %d more'):format(#paths - i + 1)
      break
    end
    lines[i] = text
  end
  return table.concat(lines, '\n')
end

return diff
