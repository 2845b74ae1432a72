--- Number constants of templates: every kind a constant can be taken for, as Go's ideal constants.
local go_format = require 'perigee.go_format'
local quote = require 'template.quote'
local values = require 'template.values'

local M = {}

local BASES = { x = 16, o = 8, b = 2 }
-- (2^64 - 1) / base
local MOST = { [2] = -1 >> 1, [8] = -1 >> 3, [10] = 1844674407370955161, [16] = -1 >> 4 }

-- strconv.ParseInt and ParseUint at once, in base 0: the magnitude as an unsigned integer, whether
-- there is a minus, and whether any sign. nil when it is no integer or has more than 64 bits.
local function parse_integer(text)
  local sign, digits = text:match('^([+-]?)(.*)$')
  local base, prefix = 10, digits:match('^0([xXoObB])')
  if prefix then
    base, digits = BASES[prefix:lower()], digits:sub(3)
  elseif digits:find('^0[%d_]') then
    base, digits = 8, digits:sub(2)
  end
  local leads = base ~= 10 -- then an underscore may come first
  if digits:find('__', 1, true) or digits:find('_$') then return nil end
  if digits:find('^_') and not leads then return nil end
  digits = digits:gsub('_', '')
  if digits == '' then return nil end
  local n = 0
  for digit in digits:gmatch('.') do
    local d = tonumber(digit, base)
    if not d then return nil end
    -- n * base + d must not pass 2^64 - 1: all of it unsigned.
    if math.ult(MOST[base], n) or base == 10 and n == MOST[10] and d > 5 then return nil end
    n = n * base + d
  end
  return n, sign == '-', sign ~= ''
end

---@class template.Number
---@field int? integer     when it can be an int
---@field is_uint boolean  it can be a uint, though perhaps no int
---@field float? number
---@field complex? table   a value
---@field text string

local function whole(x) -- is a float one of the ints? Then it is that int too
  return x >= -0x1p63 and x < 0x1p63 and math.tointeger(x) or nil
end

local function complex(text, re, im)
  local value = { type = values.types.complex, re = re, im = im }
  local number = { text = text, is_uint = false, complex = value }
  if im == 0 then number.float, number.int = re, whole(re) end
  return number
end

---@param text string
---@param kind 'number'|'complex'|'char'  the token's
---@return template.Number?
---@return string? message
function M.parse(text, kind)
  if kind == 'char' then
    local code, message = quote.unquote_char(text)
    if not code then return nil, message end
    return { text = text, int = code, is_uint = true, float = code + 0.0 }
  end
  if kind == 'complex' then
    local re, im = text:match('^(.*[^eEpP])([+-].*)i$')
    re, im = go_format.parse_float(re or ''), go_format.parse_float(im or '')
    if not re or not im then return nil, 'syntax error scanning complex number' end
    return complex(text, re, im)
  end
  if text:sub(-1) == 'i' then
    local im = go_format.parse_float(text:sub(1, -2))
    if im then return complex(text, 0.0, im) end
  end
  local n, negative, signed = parse_integer(text)
  if n and (n >= 0 or negative and n == math.mininteger) then
    n = negative and -n or n
    return { text = text, int = n, is_uint = not signed or n == 0, float = n + 0.0 }
  elseif n and not signed then
    return { text = text, is_uint = true, float = 0x1p63 + (n - math.mininteger) }
  end
  local float = go_format.parse_float(text)
  if not float then return nil, 'illegal number syntax: ' .. quote.quote(text) end
  if not text:find('[.eEpP]') then return nil, 'integer overflow: ' .. quote.quote(text) end
  local int = whole(float)
  return { text = text, float = float, int = int, is_uint = int ~= nil and int >= 0 }
end

return M
