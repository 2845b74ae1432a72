--- Options and their types: what may be there, what is missing, what it defaults to. A rule for one
--- value is a table { default?, required?, test } where test(value) returns nil, or the words of
--- what is wrong; rules for the fields of a table make a spec.
local units = require 'units'

local check = {}

---@class check.Rule
---@field default? any
---@field required? boolean
---@field test fun(value: any): string?, any?  what is wrong, and the value to use instead
---@field fields? table<string, check.Rule>     of a table with fields of its own
---@field item? check.Rule                      of a list
---@class check.Problem
---@field path (string|integer)[]  from the table that was checked down to the field
---@field message string

local function article(type_name)
  return (type_name:find('^[aeiou]') and 'an ' or 'a ') .. type_name
end

--- A text in quotes, for a message: one line of it, and not too much.
local function quoted(text)
  if #text > 60 then
    local cut = 57
    while cut > 53 and text:find('^[\x80-\xBF]', cut + 1) do cut = cut - 1 end
    text = text:sub(1, cut) .. '…'
  end
  return ('"%s"'):format((text:gsub('%c+', ' ')))
end

local function expected(what, value)
  if value == nil then return 'expected ' .. what end
  local shown = article(type(value))
  if type(value) == 'table' and value.kind == 'function' then shown = 'a function' end
  if type(value) == 'string' then shown = quoted(value) end
  if type(value) == 'number' or type(value) == 'boolean' then shown = tostring(value) end
  return ('expected %s, not %s'):format(what, shown)
end
check.expected = expected

local function rule(default, test) return { default = default, test = test } end

--- Makes a rule's value obligatory.
function check.required(r) return setmetatable({ required = true }, { __index = r }) end

---@param default? string
function check.string(default)
  return rule(default, function(v)
    if type(v) ~= 'string' then return expected('a text', v) end
    if v == '' then return 'expected a text that is not empty' end
  end)
end

---@param default? boolean
function check.boolean(default)
  return rule(default, function(v)
    if type(v) ~= 'boolean' then return expected('true or false', v) end
  end)
end

---@param default? number
---@param limits? { min?: number, max?: number, above?: number, integer?: boolean }
function check.number(default, limits)
  limits = limits or {}
  local what = limits.integer and 'a whole number' or 'a number'
  if limits.above then what = what .. ' above ' .. limits.above end
  if limits.min then what = what .. ' of at least ' .. limits.min end
  if limits.max then
    local joint = (limits.min or limits.above) and ' and' or ' of'
    what = ('%s%s at most %.14g'):format(what, joint, limits.max)
  end
  return rule(default, function(v)
    if type(v) ~= 'number' or v ~= v or math.abs(v) == math.huge
        or (limits.integer and math.tointeger(v) == nil)
        or (limits.min and v < limits.min) or (limits.max and v > limits.max)
        or (limits.above and v <= limits.above) then
      return expected(what, v)
    end
  end)
end

--- A Prometheus duration; the value becomes seconds.
---@param default? string
---@param limits? { min?: number }  seconds
function check.duration(default, limits)
  local min = limits and limits.min or 0
  return rule(default and units.duration(default), function(v)
    local seconds, message = units.duration(v)
    if not seconds then return message end
    if seconds < min then
      return ('expected at least %s, not "%s"'):format(units.duration_text(min), v)
    end
    return nil, seconds
  end)
end

--- A size in bytes: a number, or a text such as "64Ki".
function check.bytes(default)
  return rule(default and units.bytes(default), function(v)
    local bytes, message = units.bytes(v)
    if not bytes then return message end
    return nil, bytes
  end)
end

---@param default? string
---@param names string[]
function check.one_of(default, names)
  return rule(default, function(v)
    for _, name in ipairs(names) do
      if v == name then return end
    end
    local near = type(v) == 'string' and check.nearest(v, names)
    return expected('one of ' .. table.concat(names, ', '), v)
      .. (near and ('; did you mean "%s"?'):format(near) or '')
  end)
end

--- Any value: what only its user can judge.
function check.any(default) return rule(default, function() end) end

--- Adds what a rule's test said of the value at a step: a message, or problems further in.
local function gather(problems, step, message, nested)
  for _, p in ipairs(nested or {}) do
    problems[#problems + 1] = { path = { step, table.unpack(p.path) }, message = p.message,
      at = p.at }
  end
  if nested or not message then return end
  problems[#problems + 1] = { path = { step }, message = message }
end

local function is_list(v)
  if type(v) ~= 'table' or v.kind == 'function' then return false end
  local n = 0
  for _ in pairs(v) do n = n + 1 end
  return n == #v
end

--- A list whose items all obey a rule.
---@param item check.Rule
---@param default? table
function check.list_of(item, default)
  local list = rule(default, function(v)
    if not is_list(v) then return expected('a list', v) end
    local out, problems = {}, {}
    for i, one in ipairs(v) do
      local message, better, nested = item.test(one)
      gather(problems, i, message, nested)
      if better ~= nil then out[i] = better else out[i] = one end
    end
    if #problems > 0 then return 'invalid', nil, problems end
    return nil, out
  end)
  list.item = item
  return list
end

--- A table of names and values that all obey a rule.
---@param item check.Rule
---@param name_pattern? string  what the whole name must match
function check.map_of(item, name_pattern, default)
  return rule(default, function(v)
    if type(v) ~= 'table' or #v > 0
      or v.kind == 'function' then return expected('a table of names and values', v) end
    local out, problems = {}, {}
    for name, one in pairs(v) do
      local message, better, nested = item.test(one)
      if name_pattern and not tostring(name):match(name_pattern) then
        gather(problems, name, ('"%s" is not a valid name here'):format(tostring(name)))
      end
      gather(problems, name, message, nested)
      if better ~= nil then out[name] = better else out[name] = one end
    end
    table.sort(problems, function(a, b) return tostring(a.path[1]) < tostring(b.path[1]) end)
    if #problems > 0 then return 'invalid', nil, problems end
    return nil, out
  end)
end

--- A table with fields of its own.
---@param spec table<string, check.Rule>
function check.table_of(spec, default)
  local fields = rule(default, function(v)
    if type(v) ~= 'table' or v.kind == 'function' then return expected('a table', v) end
    local out, problems = check.apply(v, spec)
    if #problems > 0 then return 'invalid', nil, problems end
    return nil, out
  end)
  fields.fields = spec
  return fields
end

--- What two texts do not have in common at either end.
local function differing(a, b)
  local first, last = 1, 0
  while first <= #a and a:byte(first) == b:byte(first) do first = first + 1 end
  while #a - last >= first and #b - last >= first and a:byte(#a - last) == b:byte(#b - last) do
    last = last + 1
  end
  return a:sub(first, #a - last), b:sub(first, #b - last)
end

--- Levenshtein's distance, with a swap of neighbours as one step; nil where it is not below `most`.
local function distance(a, b, most)
  a, b = differing(a, b)
  local before, row = {}, {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local above, least = row, i
    row = { [0] = i }
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j)
      row[j] = math.min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (same and 0 or 1))
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        row[j] = math.min(row[j], before[j - 2] + 1)
      end
      least = math.min(least, row[j])
    end
    if least > most then return nil end -- by more than one: a swap looks back two rows
    before = above
  end
  return row[#b] < most and row[#b] or nil
end

local MOST_SLIPS = 5 -- of the pen, in one name; what is further away was not meant

--- The known name nearest to a misspelt one, or nil where none is near.
---@param name string
---@param known string[]
---@return string?
function check.nearest(name, known)
  local best, least = nil, (#name < 4 and 1 or math.max(2, math.min(#name // 3, MOST_SLIPS))) + 1
  name = name:sub(1, 64):lower()
  for _, candidate in ipairs(known) do
    if math.abs(#candidate - #name) < least then
      local d = distance(name, candidate:sub(1, 64):lower(), least)
      if d then best, least = candidate, d end
    end
  end
  return best
end

--- Names of a spec, sorted.
function check.names(spec)
  local names = {}
  for name in pairs(spec) do names[#names + 1] = name end
  table.sort(names)
  return names
end

--- The words for a name that is not known.
function check.unknown(what, name, known)
  local near = check.nearest(tostring(name), known)
  return ('unknown %s %s'):format(what, quoted(tostring(name)))
    .. (near and ('; did you mean "%s"?'):format(near)
    or (#known <= 12 and '; known are ' .. table.concat(known, ', ') or ''))
end

--- Where a problem is, as one text to sort by. A script's table can have keys of any type.
local function place(problem)
  local steps = {}
  for i, step in ipairs(problem.path) do steps[i] = tostring(step) end
  return table.concat(steps, '.')
end

--- A default of one's own: what is done to it is done to it alone.
local function copy(value)
  if type(value) ~= 'table' then return value end
  local out = {}
  for k, v in pairs(value) do out[k] = copy(v) end
  return out
end

--- All options with their defaults, and everything that is wrong with them.
---@param options table
---@param spec table<string, check.Rule>
---@return table values
---@return check.Problem[] problems  ordered by field
function check.apply(options, spec)
  local values, problems = {}, {}
  for name, value in pairs(options) do
    local r = spec[name]
    if not r then
      problems[#problems + 1] = { path = { name },
        message = check.unknown('option', name, check.names(spec)) }
    else
      local message, better, nested = r.test(value)
      gather(problems, name, message, nested)
      if better ~= nil then values[name] = better else values[name] = value end
    end
  end
  for _, name in ipairs(check.names(spec)) do
    local r = spec[name]
    if options[name] == nil and r.required then
      problems[#problems + 1] = { path = {}, message = ('option "%s" is missing'):format(name) }
    elseif values[name] == nil then
      values[name] = copy(r.default)
    end
  end
  table.sort(problems, function(a, b)
    local x, y = place(a), place(b)
    if x ~= y then return x < y end
    return a.message < b.message
  end)
  return values, problems
end

--- A problem's words, led by the field's name where the words do not name it themselves.
---@param problem check.Problem
function check.words(problem)
  local where = ''
  for i, step in ipairs(problem.path) do
    where = where .. (type(step) == 'number' and ('[%s]'):format(step) or (i > 1 and '.' or '')
      .. tostring(step))
  end
  if where == '' or problem.message:find('^unknown ') then return problem.message end
  return ('%s: %s'):format(where, problem.message)
end

--- The options with their defaults. Raises the first thing that is wrong, blaming the line that
--- called the function which calls this.
---@param what string  the name of that function
---@param options? table
---@param spec table<string, check.Rule>
---@return table
function check.options(what, options, spec)
  options = options == nil and {} or options
  if type(options) ~= 'table' then
    error(('%s: %s'):format(what, expected('a table of options', options)), 3)
  end
  local values, problems = check.apply(options, spec)
  if problems[1] then error(('%s: %s'):format(what, check.words(problems[1])), 3) end
  return values
end

return check
