--- Go's fmt over the values of templates: Sprint, Sprintln, Sprintf with every verb, flag, width,
--- precision and argument index, and the complaints Go prints inside the text. What it makes is
--- bounded.
local go_format = require 'perigee.go_format'
local quote = require 'template.quote'
local time = require 'template.time'
local values = require 'template.values'

local M = {}

M.LIMIT = 65536 -- bytes
local none, type_of = values.none, values.type_of
-- Where a list or a sample would lie. Go's would be another at every expansion.
local ADDRESS = 0xc000000000

---@class template.Printer
---@field out string[]
---@field size integer
---@field flags table<string, boolean>  '-', '+', '#', ' ', '0'; plus_v and sharp_v for %+v and %#v
---@field width? integer
---@field precision? integer
local Printer = {}
Printer.__index = Printer

local function printer() return setmetatable({ out = {}, size = 0, flags = {} }, Printer) end

function Printer:write(s)
  self.size = self.size + #s
  if self.size > M.LIMIT then
    values.too_much(('the text becomes longer than %d bytes'):format(M.LIMIT))
  end
  self.out[#self.out + 1] = s
end

function Printer:clear() self.flags, self.width, self.precision = {}, nil, nil end

function Printer:padding(n)
  if n <= 0 then return end
  if self.size + n > M.LIMIT then self:write((' '):rep(M.LIMIT + 1)) end
  self:write((self.flags['0'] and '0' or ' '):rep(n))
end

function Printer:pad(s)
  if not self.width then return self:write(s) end
  local n = self.width - quote.length(s)
  if not self.flags['-'] then self:padding(n) end
  self:write(s)
  if self.flags['-'] then self:padding(n) end
end

function Printer:pad_with_spaces(s)
  local zero = self.flags['0']
  self.flags['0'] = nil
  self:pad(s)
  self.flags['0'] = zero
end

-- Digits of an int, or of an unsigned one, in a base of 2, 8, 10 or 16, without a sign.
local function digits_of(n, base, upper)
  if base == 10 then return (('%d'):format(n):gsub('^-', '')) end
  if n < 0 then n = -n end -- of the least int too: what is below works on bits
  if base == 16 then return (upper and '%X' or '%x'):format(n) end
  if base == 8 then return ('%o'):format(n) end
  local bits = {}
  repeat
    table.insert(bits, 1, n & 1)
    n = n >> 1
  until n == 0
  return table.concat(bits)
end

function Printer:integer(n, base, verb)
  local flags, precision = self.flags, self.precision
  local negative = n < 0
  if precision == 0 and n == 0 then return self:pad_with_spaces('') end
  local least = precision or 0
  if not precision and flags['0'] and self.width then
    least = self.width - ((negative or flags['+'] or flags[' ']) and 1 or 0)
  end
  local digits = digits_of(n, base, verb == 'X')
  if least > M.LIMIT then self:padding(least) end
  digits = ('0'):rep(least - #digits) .. digits
  if flags['#'] then
    if base == 2 then digits = '0b' .. digits end
    if base == 8 and digits:sub(1, 1) ~= '0' then digits = '0' .. digits end
    if base == 16 then digits = (verb == 'X' and '0X' or '0x') .. digits end
  end
  if verb == 'O' then digits = '0o' .. digits end
  local sign = negative and '-' or flags['+'] and '+' or flags[' '] and ' ' or ''
  self:pad_with_spaces(sign .. digits)
end

function Printer:unicode(n)
  local text = ('%04X'):format(n)
  if self.precision and self.precision > M.LIMIT then self:padding(self.precision) end
  text = 'U+' .. ('0'):rep((self.precision or 0) - #text) .. text
  if self.flags['#'] and n >= 0 and n <= 0x10FFFF and quote.is_printable(n) then
    text = ("%s '%s'"):format(text, utf8.char(n))
  end
  self:pad_with_spaces(text)
end

local INTEGER = { v = 10, d = 10, b = 2, o = 8, O = 8, x = 16, X = 16 }

function Printer:format_integer(n, verb, v)
  if INTEGER[verb] then
    self:integer(n, INTEGER[verb], verb)
  elseif verb == 'c' then
    self:pad(quote.char(n))
  elseif verb == 'q' then
    self:pad(quote.quote_char(n, self.flags['+']))
  elseif verb == 'U' then
    self:unicode(n)
  else
    self:bad_verb(verb, v)
  end
end

-- '#' keeps the point and the zeros behind it that were cut off.
local function with_point(number, verb, precision)
  local left = 0
  if verb == 'v' or verb == 'g' or verb == 'G' or verb == 'x' then
    left = precision == -1 and 6 or precision
  end
  local hex = verb == 'x' or verb == 'X'
  local body, tail = number:match(hex and '^(.-)([pP].*)$' or '^(.-)([eE].*)$')
  if not body then body, tail = number, '' end
  local digits = body:gsub('%.', ''):gsub('^0+', '') -- x counts as one, as in Go
  left = left - #digits
  if not body:find('.', 1, true) then
    if body == '0' then left = left - 1 end
    body = body .. '.'
  end
  return body .. ('0'):rep(left) .. tail
end

local PRECISION = { v = -1, g = -1, G = -1, b = -1, x = -1, X = -1, f = 6, F = 6, e = 6, E = 6 }

function Printer:float(x, verb, precision)
  local flags, width = self.flags, self.width
  precision = self.precision or precision
  if precision > M.LIMIT then self:padding(precision) end
  local kind = verb == 'v' and 'g' or verb == 'F' and 'f' or verb
  local number = go_format.float(x, kind, precision)
  local sign = number:match('^[+-]') or '+'
  number = number:gsub('^[+-]', '')
  if flags[' '] and sign == '+' and not flags['+'] then sign = ' ' end
  if number == 'NaN' or number == 'Inf' then
    local bare = number == 'NaN' and not flags[' '] and not flags['+']
    return self:pad_with_spaces(bare and number or sign .. number)
  end
  if flags['#'] and verb ~= 'b' then number = with_point(number, verb, precision) end
  if sign == '+' and not flags['+'] then return self:pad(number) end
  if flags['0'] and width and width > #number + 1 then
    self:write(sign)
    self:padding(width - #number - 1)
    return self:write(number)
  end
  self:pad(sign .. number)
end

function Printer:format_float(x, verb, v)
  if not PRECISION[verb] then return self:bad_verb(verb, v) end
  self:float(x, verb, PRECISION[verb])
end

function Printer:format_complex(v, verb)
  if not PRECISION[verb] then return self:bad_verb(verb, v) end
  local plus = self.flags['+']
  self:write('(')
  self:format_float(v.re, verb)
  self.flags['+'] = true
  self:format_float(v.im, verb)
  self:write('i)')
  self.flags['+'] = plus
end

function Printer:hex(s, verb)
  local flags = self.flags
  s = s:sub(1, self.precision)
  local bytes = {}
  local prefix = flags['#'] and '0' .. verb or ''
  for i = 1, #s do
    bytes[i] = (verb == 'x' and '%02x' or '%02X'):format(s:byte(i))
    if flags[' '] or i == 1 then bytes[i] = prefix .. bytes[i] end
  end
  self:pad(table.concat(bytes, flags[' '] and ' ' or ''))
end

function Printer:quoted(s)
  if self.precision then s = quote.truncate(s, self.precision) end
  if self.flags['#'] and quote.is_raw(s) then return self:pad('`' .. s .. '`') end
  self:pad(quote.quote(s, self.flags['+']))
end

function Printer:format_string(s, verb, v)
  if verb == 's' or verb == 'v' and not self.flags.sharp_v then
    if self.precision then s = quote.truncate(s, self.precision) end
    self:pad(s)
  elseif verb == 'x' or verb == 'X' then
    self:hex(s, verb)
  elseif verb == 'q' or verb == 'v' then
    self:quoted(s)
  else
    self:bad_verb(verb, v)
  end
end

-- %!d(string=text)
function Printer:bad_verb(verb, v)
  self:write('%!' .. verb .. '(')
  if v == none then
    self:write('<nil>')
  else
    self:write(type_of(v).name .. '=')
    local complaining = self.complaining
    self.complaining = true -- then no String method is asked
    self:value(v, 'v', 0)
    self.complaining = complaining
  end
  self:write(')')
end

-- {a b}, {Labels:a Value:b} or {Labels:a, Value:b}
function Printer:fields(v, verb, depth)
  local flags = self.flags
  local t = v.type
  if flags.sharp_v then self:write(t.plain or t.name) end
  self:write('{')
  for i, field in ipairs(t.fields) do
    if i > 1 then self:write(flags.sharp_v and ', ' or ' ') end
    if flags.plus_v or flags.sharp_v then self:write(field .. ':') end
    self:value(v[field], verb, depth + 1)
  end
  self:write('}')
end

function Printer:map(v, verb, depth)
  local sharp = self.flags.sharp_v
  self:write(sharp and v.type.name .. '{' or 'map[')
  for i, key in ipairs(values.sorted_keys(v)) do
    if i > 1 then self:write(sharp and ', ' or ' ') end
    self:value(key, verb, depth + 1)
    self:write(':')
    self:value(v.items[key], verb, depth + 1)
  end
  self:write(sharp and '}' or ']')
end

function Printer:slice(v, verb, depth)
  local sharp = self.flags.sharp_v
  if sharp then self:write(v.type.name .. (v.null and '(nil)' or '{')) end
  if sharp and v.null then return end
  if not sharp then self:write('[') end
  for i, item in ipairs(v.items) do
    if i > 1 then self:write(sharp and ', ' or ' ') end
    self:value(item, verb, depth + 1)
  end
  self:write(sharp and '}' or ']')
end

function Printer:pointer(v, verb)
  local address = v.null and 0 or ADDRESS
  if verb == 'v' and self.flags.sharp_v then
    self:write(('(%s)(%s)'):format(v.type.name, v.null and 'nil' or ('0x%x'):format(address)))
  elseif verb == 'v' and v.null then
    self:pad('<nil>')
  elseif verb == 'v' or verb == 'p' then
    local sharp = self.flags['#']
    self.flags['#'] = not sharp
    self:integer(address, 16, 'v')
    self.flags['#'] = sharp
  elseif INTEGER[verb] then
    self:integer(address, INTEGER[verb], verb)
  else
    self:bad_verb(verb, v)
  end
end

local STRINGS = { v = true, s = true, x = true, X = true, q = true }

---@param v any
---@param verb string
---@param depth integer  0 for an argument, more inside it
function Printer:value(v, verb, depth)
  local t = type_of(v)
  local kind = t.kind
  if kind == 'string' then return self:format_string(values.text(v), verb, v) end
  if kind == 'float' then return self:format_float(v, verb, v) end
  if kind == 'int' then return self:format_integer(v, verb, v) end
  if kind == 'bool' then
    if verb == 't' or verb == 'v' then return self:pad(tostring(v)) end
    return self:bad_verb(verb, v)
  end
  if kind == 'invalid' then
    if depth > 0 then return self:write(self.flags.sharp_v and 'interface {}(nil)' or '<nil>') end
    if verb == 'v' then return self:pad('<nil>') end
    return self:bad_verb(verb, v)
  end
  if kind == 'uint' then
    if verb == 'v' and self.flags.sharp_v then
      self.flags['#'] = true
      self:integer(v.n, 16, 'v')
      self.flags['#'] = nil
      return
    end
    return self:format_integer(v.n, verb, v)
  end
  if kind == 'complex' then return self:format_complex(v, verb) end
  if kind == 'map' then return self:map(v, verb, depth) end
  if kind == 'slice' then return self:slice(v, verb, depth) end
  if kind == 'struct' then return self:fields(v, verb, depth) end
  local text = not self.complaining and not self.flags.sharp_v and STRINGS[verb] and time.text(v)
  if text then return self:format_string(text, verb, v) end
  if depth == 0 and t.fields and not v.null then
    self:write('&')
    return self:fields(v, verb, depth)
  end
  self:pointer(v, verb)
end

-- An argument of Printf: %T and %p are asked of any value.
function Printer:argument(v, verb)
  if v == none and verb == 'T' then return self:pad('<nil>') end
  if v ~= none and verb == 'T' then return self:format_string(type_of(v).name, 's', v) end
  if verb == 'w' then return self:bad_verb(verb, v) end -- it is for errors
  local kind = type_of(v).kind
  if v ~= none and verb == 'p' then
    if kind == 'map' or kind == 'slice' or kind == 'pointer' then return self:pointer(v, 'p') end
    return self:bad_verb('p', v)
  end
  self:value(v, verb, 0)
end

--- fmt.Sprint: a space between two arguments neither of which is a string.
---@param args any[]
---@return string
function M.sprint(args)
  if #args == 1 and type(args[1]) == 'string' then return args[1] end
  local p, was_string = printer(), true
  for i, v in ipairs(args) do
    local is_string = type_of(v).kind == 'string'
    if i > 1 and not is_string and not was_string then p:write(' ') end
    p:value(v, 'v', 0)
    was_string = is_string
  end
  return table.concat(p.out)
end

--- fmt.Sprintln
---@param args any[]
---@return string
function M.sprintln(args)
  local p = printer()
  for i, v in ipairs(args) do
    if i > 1 then p:write(' ') end
    p:value(v, 'v', 0)
  end
  p:write('\n')
  return table.concat(p.out)
end

-- A number at `at`: it and the place behind it. Absurd ones count as none and end the format.
local function number_at(format, at)
  local digits = format:match('^%d+', at)
  if not digits then return nil, at end
  if (tonumber(digits:sub(1, -2)) or 0) > 1000000 then return nil, #format + 1 end
  return tonumber(digits), at + #digits
end

---@class template.Directive  where a Printf is in its format and its arguments
---@field format string
---@field args any[]
---@field at integer   in the format
---@field next integer  argument
---@field indexed boolean   an [n] has just been read
---@field reordered boolean  some [n] has been
---@field good boolean      the [n] of this directive are valid
local Directive = {}
Directive.__index = Directive

function Directive:index()
  self.indexed = false
  if self.format:sub(self.at, self.at) ~= '[' then return end
  self.reordered = true
  local close = self.format:find(']', self.at, true)
  if not close or #self.format - self.at < 2 then
    self.good = false
    self.at = self.at + 1
    return
  end
  local n, behind = number_at(self.format, self.at + 1)
  local ok = n and behind == close
  self.at = close + 1
  self.indexed = ok or false
  if ok and n >= 1 and n <= #self.args then self.next = n else self.good = false end
end

-- The integer argument that a * asks for.
function Directive:star()
  self.at = self.at + 1
  local v = self.args[self.next]
  if v ~= nil then self.next = self.next + 1 end
  if type(v) == 'table' and v.type.kind == 'uint' then v = v.n end
  self.indexed = false
  if math.type(v) ~= 'integer' or v > 1000000 or v < -1000000 then return nil end
  return v
end

function Directive:width(p)
  self:index()
  if self.format:sub(self.at, self.at) ~= '*' then
    p.width, self.at = number_at(self.format, self.at)
    if self.indexed and p.width then self.good = false end
    return
  end
  p.width = self:star()
  if not p.width then p:write('%!(BADWIDTH)') end
  if p.width and p.width < 0 then
    p.width, p.flags['-'], p.flags['0'] = -p.width, true, nil
  end
end

function Directive:precision(p)
  if self.at >= #self.format or self.format:sub(self.at, self.at) ~= '.' then return end
  self.at = self.at + 1
  if self.indexed then self.good = false end
  self:index()
  if self.format:sub(self.at, self.at) ~= '*' then
    p.precision, self.at = number_at(self.format, self.at)
    p.precision = p.precision or 0
    return
  end
  p.precision = self:star()
  if p.precision and p.precision < 0 then p.precision = nil end
  if not p.precision then p:write('%!(BADPREC)') end
end

-- One directive, of which the % has been read.
function Directive:run(p)
  p:clear()
  self.good = true
  local flags = self.format:match('^[#0+ -]*', self.at)
  for flag in flags:gmatch('.') do p.flags[flag] = true end
  if p.flags['-'] then p.flags['0'] = nil end
  self.at = self.at + #flags
  self:width(p)
  self:precision(p)
  if not self.indexed then self:index() end
  if self.at > #self.format then return p:write('%!(NOVERB)') end
  local verb = quote.char_at(self.format, self.at)
  self.at = self.at + #verb
  if verb == '%' then return p:write('%') end
  if not self.good then return p:write('%!' .. verb .. '(BADINDEX)') end
  if self.next > #self.args then return p:write('%!' .. verb .. '(MISSING)') end
  if verb == 'v' then
    p.flags.sharp_v, p.flags['#'] = p.flags['#'], nil
    p.flags.plus_v, p.flags['+'] = p.flags['+'], nil
  end
  p:argument(self.args[self.next], verb)
  self.next = self.next + 1
end

--- fmt.Sprintf
---@param format string
---@param args any[]
---@return string
function M.sprintf(format, args)
  local p = printer()
  local d = { format = format, args = args, at = 1, next = 1, reordered = false }
  setmetatable(d, Directive)
  while d.at <= #format do
    local percent = format:find('%', d.at, true)
    p:write(format:sub(d.at, (percent or 0) - 1))
    if not percent then break end
    d.at = percent + 1
    d:run(p)
  end
  if d.reordered or d.next > #args then return table.concat(p.out) end
  p:clear()
  p:write('%!(EXTRA ')
  for i = d.next, #args do
    if i > d.next then p:write(', ') end
    if args[i] ~= none then p:write(type_of(args[i]).name .. '=') end
    p:value(args[i], 'v', 0)
  end
  p:write(')')
  return table.concat(p.out)
end

return M
