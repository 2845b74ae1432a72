--- Label selectors as PromQL has them: name{label="value", other=~"pattern"}.
local quote = require 'template.quote'
local regex = require 'perigee.regex'

local selector = {}

---@class selector.Matcher
---@field name string
---@field op "="|"!="|"=~"|"!~"
---@field value string
---@field pattern? table  of =~ and !~

--- A text in single quotes, in double ones.
local function double_quoted(text)
  if text:sub(1, 1) ~= "'" then return text end
  local inner = text:sub(2, -2):gsub('\\?.', function(c)
    return c == "\\'" and "'" or c == '"' and '\\"' or nil
  end)
  return '"' .. inner .. '"'
end

--- The text that begins at `at`, and what comes behind it.
local function text_at(s, at)
  local q = s:match('^["\'`]', at)
  if not q then return nil end
  local i = at + 1
  while i <= #s and s:sub(i, i) ~= q do i = i + (q ~= '`' and s:sub(i, i) == '\\' and 2 or 1) end
  if i > #s then return nil end
  return quote.unquote(double_quoted(s:sub(at, i))), i + 1
end

local function matcher(name, op, value)
  local m = { name = name, op = op, value = value }
  if op == '=~' or op == '!~' then
    local message
    m.pattern, message = regex.compile(value)
    if not m.pattern then return nil, message end
  end
  return m
end

--- Reads a selector.
---@param s string
---@return selector.Matcher[]? matchers
---@return string? message
function selector.parse(s)
  local out = {}
  local metric, at = s:match '^%s*([%a_:][%w_:]*)%s*()'
  if metric then out[1] = matcher('__name__', '=', metric) end
  at = at or 1
  local open = s:match('^%s*{%s*()', at)
  if not open then
    if metric and at > #s then return out end
    return nil, ('"%s" is no selector, as {label="value"} is'):format(s)
  end
  at = open
  while not s:find('^}', at) do
    local name, op, begin = s:match('^([%a_][%w_]*)%s*([=!]~?=?)%s*()', at)
    local value, behind
    if name then value, behind = text_at(s, begin) end
    if not value or not (op == '=' or op == '!=' or op == '=~' or op == '!~') then
      return nil, ('expected label="value" at position %d of %s'):format(at, s)
    end
    local m, message = matcher(name, op, value)
    if not m then return nil, message end
    out[#out + 1] = m
    at = s:match('^%s*,%s*()', behind) or s:match('^%s*()}', behind)
    if not at then return nil, ('expected "," or "}" at position %d of %s'):format(behind, s) end
  end
  if s:find('%S', at + 1) or #out == 0 then
    return nil, ('"%s" is no selector, as {label="value"} is'):format(s)
  end
  return out
end

--- Whether labels are as the matchers say; a label that is missing is empty.
---@param matchers selector.Matcher[]
---@param labels table<string, string>
function selector.matches(matchers, labels)
  for _, m in ipairs(matchers) do
    local value = labels[m.name] or ''
    local same
    if m.pattern then same = m.pattern:full_match(value) else same = value == m.value end
    if same ~= (m.op == '=' or m.op == '=~') then return false end
  end
  return true
end

return selector
