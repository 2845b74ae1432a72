--- The functions every Go template has. Each is { parameters, variadic?, call }: the types of its
--- parameters ('any', 'value', 'string', 'sample', 'vector'), that of the rest, and what is called
--- with them; it returns a value, or nil and a message. `and` and `or` the walker does itself, as
--- they stop early.
local format = require 'template.format'
local quote = require 'template.quote'
local values = require 'template.values'

local types, none, type_of = values.types, values.none, values.type_of

---@class template.Function
---@field parameters string[]
---@field variadic? string
---@field call fun(run: template.Run, ...): any, string?

-- What Go's reflection says of a function that asked nil for its type.
local NIL_TYPE = 'reflect: call of reflect.Value.Type on zero Value'
local BASIC = { bool = true, complex = true, int = true, float = true, string = true, uint = true }

local function plain(v) -- a basic value without its box
  if type(v) ~= 'table' then return v end
  return v.text or v.n
end

local function is_none(v) return v == none or v == values.nil_any end

local function is_nil(v)
  return v == none or type(v) == 'table' and v.null == true
end

local function incompatible() return nil, 'incompatible types for comparison' end

-- Are two values of basic kinds equal? nil and a message when Go compares no such kinds.
local function equal(a, b)
  local ta, tb = type_of(a), type_of(b)
  local ka, kb = ta.kind, tb.kind
  if ka == kb and BASIC[ka] then
    if ka == 'complex' then return a.re == b.re and a.im == b.im end
    return plain(a) == plain(b)
  end
  if ka == 'int' and kb == 'uint' or ka == 'uint' and kb == 'int' then
    return plain(a) == plain(b)
  end
  if BASIC[ka] or BASIC[kb] then
    if not is_none(a) and not is_none(b) then return incompatible() end
    return false
  end
  if ka ~= kb and not is_none(a) and not is_none(b) then
    local shown_a, shown_b = format.sprintf('%s', { a }), format.sprint { b }
    return nil, ('non-comparable types %s: %s, %s: %s'):format(shown_a, ta.name, tb.name, shown_b)
  end
  if is_nil(a) or is_nil(b) then return is_nil(a) == is_nil(b) end
  if kb == 'pointer' then return a == b end
  return nil, ('non-comparable type %s: %s'):format(format.sprintf('%s', { b }), tb.name)
end

local function eq(_, a, ...)
  local n = select('#', ...)
  if n == 0 then return nil, 'missing argument for comparison' end
  for i = 1, n do
    local same, message = equal(a, (select(i, ...)))
    if same or message then return same, message end
  end
  return false
end

local function ne(_, a, b)
  local same, message = equal(a, b)
  if message then return nil, message end
  return not same
end

local function less(a, b)
  local ka, kb = type_of(a).kind, type_of(b).kind
  if not BASIC[ka] or not BASIC[kb] then return nil, 'invalid type for comparison' end
  local integers = ka == 'int' and kb == 'uint' or ka == 'uint' and kb == 'int'
  if ka ~= kb and not integers then return incompatible() end
  if ka == 'bool' or ka == 'complex' then return nil, 'invalid type for comparison' end
  return plain(a) < plain(b)
end

local function lt(_, a, b) return less(a, b) end

-- As Go has it, also where NaN makes it strange: <= is "< or ==", > is "not <=", >= is "not <".
local function le(_, a, b)
  local under, message = less(a, b)
  if under or message then return under, message end
  return equal(a, b)
end

local function gt(_, a, b)
  local not_over, message = le(nil, a, b)
  if message then return nil, message end
  return not not_over
end

local function ge(_, a, b)
  local under, message = less(a, b)
  if message then return nil, message end
  return not under
end

local function len(_, v)
  if v == values.nil_any or type(v) == 'table' and v.null and v.type.kind == 'pointer' then
    return nil, 'len of nil pointer'
  end
  if v == none then return nil, NIL_TYPE end
  local n = values.length(v)
  if n then return n end
  return nil, 'len of type ' .. (type_of(v).plain or type_of(v).name)
end

-- An index into a list or a string, from 0 to `most`.
local function check_index(i, most)
  if is_none(i) then return nil, 'cannot index slice/array with nil' end
  local kind = type_of(i).kind
  if kind ~= 'int' and kind ~= 'uint' then
    return nil, 'cannot index slice/array with type ' .. type_of(i).name
  end
  i = plain(i)
  if i < 0 or i > most then return nil, ('index out of range: %d'):format(i) end
  return i
end

local function element(v, i)
  local kind = type_of(v).kind
  if kind == 'map' then
    if is_none(i) then return nil, 'value is nil; should be of type string' end
    if type(i) ~= 'string' then
      return nil, ('value has type %s; should be string'):format(type_of(i).name)
    end
    local found = v.items[i]
    if found == nil then return v.type.zero end
    return found
  elseif kind ~= 'slice' and kind ~= 'string' then
    if type(v) == 'table' and v.null then return nil, 'index of nil pointer' end
    return nil, "can't index item of type " .. (type_of(v).plain or type_of(v).name)
  end
  local length = values.length(v) --[[@as integer]]
  local n, message = check_index(i, length)
  if not n then return nil, message end
  if n == length then return nil, ('reflect: %s index out of range'):format(kind) end
  if kind == 'slice' then return v.items[n + 1] end
  return { type = types.byte, n = values.text(v):byte(n + 1) }
end

local function index(_, v, ...)
  if is_none(v) then return nil, 'index of untyped nil' end
  local message
  for i = 1, select('#', ...) do
    if is_none(v) then return nil, 'index of nil pointer' end
    v, message = element(v, (select(i, ...)))
    if v == nil then return nil, message end
  end
  return v
end

local function slice(_, v, ...)
  local n = select('#', ...)
  if is_none(v) then return nil, 'slice of untyped nil' end
  if n > 3 then return nil, 'too many slice indexes: ' .. n end
  local kind = type_of(v).kind
  if kind == 'string' and n == 3 then return nil, 'cannot 3-index slice a string' end
  if kind ~= 'string' and kind ~= 'slice' then
    return nil, "can't slice item of type " .. type_of(v).name
  end
  local length = values.length(v) --[[@as integer]]
  local from, to, most = 0, length, nil
  for i = 1, n do
    local at, message = check_index((select(i, ...)), length)
    if not at then return nil, message end
    if i == 1 then from = at elseif i == 2 then to = at else most = at end
  end
  if from > to then return nil, ('invalid slice index: %d > %d'):format(from, to) end
  if most and to > most then return nil, ('invalid slice index: %d > %d'):format(to, most) end
  if type(v) == 'string' then return v:sub(from + 1, to) end
  if kind == 'string' then return { type = v.type, text = v.text:sub(from + 1, to) } end
  return { type = v.type, items = table.move(v.items, from + 1, to, 1, {}) }
end

-- What is printed for a value outside of print: of a pointer what it points to, and words for none.
local function printable(v)
  if v == none then return '<no value>' end
  local t = type_of(v)
  if t.kind ~= 'pointer' or not t.fields or v.null then return v end
  local struct = { name = t.plain, kind = 'struct', fields = t.fields }
  return { type = struct, Labels = v.Labels, Value = v.Value }
end

--- What an action prints.
---@return string
local function printed(v)
  if type(v) == 'string' then return v end
  return format.sprint { printable(v) }
end

-- The arguments of html, js and urlquery as one text.
local function joined(...)
  local args = { ... }
  for i, v in ipairs(args) do args[i] = printable(v) end
  return format.sprint(args)
end

local HTML = {
  ['\0'] = '\u{FFFD}', ['"'] = '&#34;', ["'"] = '&#39;', ['&'] = '&amp;', ['<'] = '&lt;',
  ['>'] = '&gt;',
}
local JS = {
  ['\\'] = '\\\\', ["'"] = "\\'", ['"'] = '\\"', ['<'] = '\\u003C', ['>'] = '\\u003E',
  ['&'] = '\\u0026', ['='] = '\\u003D',
}

local function html(_, ...) return (joined(...):gsub('[%z"\'&<>]', HTML)) end

local function js(run, ...)
  local s = joined(...)
  run:charge(#s)
  if not s:find('[%c\\\'"<>&=\x80-\xFF]') then return s end
  local out, at = {}, 1
  while at <= #s do
    local char, code = quote.char_at(s, at)
    at = at + #char
    code = code or 0xFFFD
    if JS[char] then
      char = JS[char]
    elseif code < 0x20 or code >= 0x80 and not quote.is_printable(code) then
      char = ('\\u%04X'):format(code)
    elseif code == 0xFFFD then
      char = #char == 1 and char or '\u{FFFD}'
    end
    out[#out + 1] = char
  end
  return table.concat(out)
end

--- url.QueryEscape
---@param s string
---@return string
local function query_escape(s)
  return (s:gsub('[^%w%-_.~ ]', function(c) return ('%%%02X'):format(c:byte()) end):gsub(' ', '+'))
end

local function urlquery(_, ...) return query_escape(joined(...)) end

---@type table<string, template.Function>
local functions = {
  ['and'] = { parameters = { 'value' }, variadic = 'value', call = error },
  ['or'] = { parameters = { 'value' }, variadic = 'value', call = error },
  ['not'] = { parameters = { 'value' }, call = function(_, v) return not values.is_true(v) end },
  eq = { parameters = { 'value' }, variadic = 'value', call = eq },
  ne = { parameters = { 'value', 'value' }, call = ne },
  lt = { parameters = { 'value', 'value' }, call = lt },
  le = { parameters = { 'value', 'value' }, call = le },
  gt = { parameters = { 'value', 'value' }, call = gt },
  ge = { parameters = { 'value', 'value' }, call = ge },
  len = { parameters = { 'value' }, call = len },
  index = { parameters = { 'value' }, variadic = 'value', call = index },
  slice = { parameters = { 'value' }, variadic = 'value', call = slice },
  call = {
    parameters = { 'value' },
    variadic = 'value',
    call = function(_, v)
      if is_none(v) then return nil, 'call of nil' end
      return nil, 'non-function of type ' .. type_of(v).name
    end,
  },
  html = { parameters = {}, variadic = 'any', call = html },
  js = { parameters = {}, variadic = 'any', call = js },
  urlquery = { parameters = {}, variadic = 'any', call = urlquery },
  print = {
    parameters = {},
    variadic = 'any',
    call = function(_, ...) return format.sprint { ... } end,
  },
  println = {
    parameters = {},
    variadic = 'any',
    call = function(_, ...) return format.sprintln { ... } end,
  },
  printf = {
    parameters = { 'string' },
    variadic = 'any',
    call = function(run, text, ...)
      local s = format.sprintf(text, { ... })
      run:charge(#s) -- %q goes character by character
      return s
    end,
  },
}

return { functions = functions, printed = printed, query_escape = query_escape }
