--- Text as Go writes and reads it: quoted strings, characters, the length in characters.
local regex = require 'perigee.regex'

local M = {}

local PRINTABLE = assert(regex.compile [[[\pL\pM\pN\pP\pS]+]])
local LETTER = assert(regex.compile [[[\pL\p{Nd}_]+]])
local REPLACEMENT = '\u{FFFD}'

--- Splits off the character at `at`: its bytes, and its code point, nil where they are no UTF-8.
---@return string char
---@return integer? code
local function char_at(s, at)
  local char = s:match('^[\xC2-\xF4][\x80-\xBF]+', at)
  if not char then
    local byte = s:byte(at)
    return s:sub(at, at), byte < 0x80 and byte or nil
  end
  local first = char:byte()
  char = char:sub(1, first < 0xE0 and 2 or first < 0xF0 and 3 or 4)
  if not utf8.len(char) then return s:sub(at, at), nil end
  return char, utf8.codepoint(char)
end
M.char_at = char_at

--- The characters of a text, each wrong byte being one.
---@param s string
---@return integer
function M.length(s)
  if utf8.len(s) then return utf8.len(s) --[[@as integer]] end
  local n, at = 0, 1
  while at <= #s do n, at = n + 1, at + #char_at(s, at) end
  return n
end

--- The first n characters.
function M.truncate(s, n)
  local at = 1
  while n > 0 and at <= #s do n, at = n - 1, at + #char_at(s, at) end
  return s:sub(1, at - 1)
end

---@param code integer
function M.is_printable(code)
  if code < 0x80 then return code >= 0x20 and code < 0x7F end
  if code > 0x10FFFF or code >= 0xD800 and code < 0xE000 then return false end
  return PRINTABLE:full_match(utf8.char(code))
end

--- A letter, a digit or an underscore, of any script.
---@param char string
function M.is_word(char)
  if #char == 1 then return char:find('^[%w_]') ~= nil end
  return LETTER:full_match(char)
end

local SHORT = {
  ['\a'] = '\\a', ['\b'] = '\\b', ['\f'] = '\\f', ['\n'] = '\\n', ['\r'] = '\\r', ['\t'] = '\\t',
  ['\v'] = '\\v', ['\\'] = '\\\\',
}

local function escape(char, code, delimiter, ascii)
  if char == delimiter then return '\\' .. char end
  if SHORT[char] then return SHORT[char] end
  if not code then return ('\\x%02x'):format(char:byte()) end
  if M.is_printable(code) and not (ascii and code >= 0x80) then return char end
  if code < 0x80 then return ('\\x%02x'):format(code) end
  return (code < 0x10000 and '\\u%04x' or '\\U%08x'):format(code)
end

--- strconv.Quote, or with `ascii` QuoteToASCII.
---@param s string
---@param ascii? boolean
---@return string
function M.quote(s, ascii)
  if not s:find('[^ !#-%[%]-~]') then return '"' .. s .. '"' end
  local out, at = { '"' }, 1
  while at <= #s do
    local char, code = char_at(s, at)
    out[#out + 1] = escape(char, code, '"', ascii)
    at = at + #char
  end
  out[#out + 1] = '"'
  return table.concat(out)
end

--- The character with that code as UTF-8, U+FFFD when there is none.
---@param code integer
function M.char(code)
  if code < 0 or code > 0x10FFFF or code >= 0xD800 and code < 0xE000 then return REPLACEMENT end
  return utf8.char(code)
end

--- strconv.QuoteRune.
function M.quote_char(code, ascii)
  local char = M.char(code)
  return "'" .. escape(char, utf8.codepoint(char), "'", ascii) .. "'"
end

--- May it stand in backquotes?
function M.is_raw(s)
  if s:find('[%z\1-\8\10-\31`\127]') or not utf8.len(s) then return false end
  return not s:find('\u{FEFF}', 1, true)
end

--- As %#U writes a character: U+0022 '"'.
function M.unicode(code)
  local text = ('U+%04X'):format(code)
  return M.is_printable(code) and ("%s '%s'"):format(text, utf8.char(code)) or text
end

local UNSHORT = {
  a = '\a', b = '\b', f = '\f', n = '\n', r = '\r', t = '\t', v = '\v', ['\\'] = '\\',
}

-- One escape, of which the backslash is at `at`: what it stands for and the place behind it.
local function unescape(s, at, delimiter)
  local c = s:sub(at + 1, at + 1)
  if UNSHORT[c] then return UNSHORT[c], at + 2 end
  if c == delimiter then return c, at + 2 end
  local digits = s:match('^[0-7][0-7][0-7]', at + 1)
  if digits then
    local n = tonumber(digits, 8)
    return n < 256 and string.char(n) or nil, at + 4, n
  end
  local size = ({ x = 2, u = 4, U = 8 })[c]
  digits = size and s:match('^%x+', at + 2)
  if not digits or #digits < size then return nil end
  local n = tonumber(digits:sub(1, size), 16)
  if c == 'x' then return string.char(n), at + 2 + size, n end
  if n > 0x10FFFF or n >= 0xD800 and n < 0xE000 then return nil end
  return utf8.char(n), at + 2 + size
end

--- strconv.Unquote of "…" or `…`.
---@param s string
---@return string?  nil: "invalid syntax", as Go says
function M.unquote(s)
  if s:byte() == 96 then return (s:sub(2, -2):gsub('\r', '')) end
  s = s:sub(2, -2)
  if not s:find('\\', 1, true) then return s end
  local out, at = {}, 1
  while at <= #s do
    local stop = s:find('\\', at, true)
    out[#out + 1] = s:sub(at, (stop or 0) - 1)
    if not stop then break end
    local text, behind = unescape(s, stop, '"')
    if not text then return nil end
    out[#out + 1], at = text, behind
  end
  return table.concat(out)
end

--- The code of a character constant: 'a', '\n', '\x41'.
---@param s string
---@return integer?
---@return string? message
function M.unquote_char(s)
  local char, code, behind
  if s:sub(2, 2) == '\\' then
    char, behind, code = unescape(s, 2, "'")
    if not char then return nil, 'invalid syntax' end
    code = code or utf8.codepoint(char)
  else
    char, code = char_at(s, 2)
    if char == "'" then return nil, 'invalid syntax' end
    behind, code = 2 + #char, code or 0xFFFD
  end
  if s:sub(behind) ~= "'" then return nil, 'malformed character constant: ' .. s end
  return code
end

return M
