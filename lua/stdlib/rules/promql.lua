--- What can be said of an expression without evaluating it, whatever dialect of PromQL the source
--- speaks: whether texts and brackets end, and whether operators stand between something. Whether
--- it means anything the source says, when it is asked.
local promql = {}

local CLOSES = { ['('] = ')', ['['] = ']', ['{'] = '}' }
local OPERATORS = { '^[=!<>]=', '^[<>]', '^[-+*/%%^]' }
local SIGNS = { ['+'] = true, ['-'] = true }

--- The last position of the text that begins at a quote; nil where it does not end.
local function end_of_text(expr, at, quote)
  if quote == '`' then return select(2, expr:find('`', at + 1, true)) end
  at = at + 1
  while at <= #expr do
    local c = expr:sub(at, at)
    if c == quote then return at end
    if c == '\n' then return nil end
    at = at + (c == '\\' and 2 or 1)
  end
end

local function operator_at(expr, at)
  for _, pattern in ipairs(OPERATORS) do
    local found = expr:match(pattern, at)
    if found then return found end
  end
end

---@class promql.Scan
---@field expr string
---@field at integer
---@field open { c: string, at: integer }[]
---@field before string   what stands before: "nothing" where an operand is to begin, "operand", or
---       an operator
local Scan = {}
Scan.__index = Scan

--- A bracket that opens or closes.
function Scan:bracket(c)
  if CLOSES[c] then
    self.open[#self.open + 1] = { c = c, at = self.at }
    self.before = c == '(' and 'nothing' or 'operand'
    return
  end
  local opened = table.remove(self.open)
  if not opened then return ('there is no bracket that this "%s" closes'):format(c) end
  if CLOSES[opened.c] ~= c then return ('"%s" is closed by "%s"'):format(opened.c, c) end
  if self.before ~= 'nothing' and self.before ~= 'operand' then
    return ('nothing stands behind "%s"'):format(self.before)
  end
  self.before = 'operand'
end

--- An operator, outside of braces and brackets, where other signs have their place.
function Scan:operator(op)
  local innermost = self.open[#self.open]
  self.at = self.at + #op - 1
  if innermost and innermost.c ~= '(' then return end
  if self.before ~= 'operand' and not SIGNS[op] then
    return self.before == 'nothing' and ('nothing stands before "%s"'):format(op)
      or ('nothing stands between "%s" and "%s"'):format(self.before, op)
  end
  self.before = op
end

--- What begins at the present position, up to its last one.
function Scan:step()
  local expr, at = self.expr, self.at
  local c = expr:sub(at, at)
  if c == '#' then
    self.at = expr:find('\n', at, true) or #expr
  elseif c:find '["\'`]' then
    self.at = end_of_text(expr, at, c) or at
    if self.at == at then return 'a text that begins here does not end' end
    self.before = 'operand'
  elseif c:find '[%(%)%[%]{}]' then
    return self:bracket(c)
  elseif c == ',' then
    self.before = 'nothing'
  elseif c:find '%S' then
    local op = operator_at(expr, at)
    if op then return self:operator(op) end
    self.at = (expr:match('^[%w_:.]+()', at) or at + 1) - 1
    self.before = 'operand'
  end
end

local function place(expr, at)
  local line, start = 1, 1
  for newline in expr:sub(1, at - 1):gmatch '()\n' do line, start = line + 1, newline + 1 end
  return { line = line, column = at - start + 1 }
end

--- What is wrong with an expression's form, and where in it; nil where nothing is.
---@param expr string
---@return string? message
---@return { line: integer, column: integer }? place
function promql.problem(expr)
  if not expr:gsub('#[^\n]*', ''):find '%S' then return 'the expression is empty' end
  local scan = setmetatable({ expr = expr, at = 1, open = {}, before = 'nothing' }, Scan)
  while scan.at <= #expr do
    local began = scan.at
    local message = scan:step()
    if message then return message, place(expr, began) end
    scan.at = scan.at + 1
  end
  local left = scan.open[#scan.open]
  if left then return ('"%s" is not closed'):format(left.c), place(expr, left.at) end
  if scan.before ~= 'operand' then
    return ('nothing stands behind "%s"'):format(scan.before), place(expr, #expr)
  end
end

-- -- labels that are left -------------------------------------------------------------------------

local AGGREGATES = { sum = true, avg = true, min = true, max = true, count = true, group = true,
  stddev = true, stdvar = true, quantile = true, count_values = true }

--- The names in a list such as "(a, b)".
local function names_in(list)
  local out = {}
  for name in list:gmatch '[%a_][%w_]*' do out[name] = true end
  return out
end

--- The labels that the series of an expression have at most, where it is an aggregation that says
--- so, perhaps compared with something; nil where anything may be left.
---@param expr string
---@return table<string, boolean>?
function promql.labels_left(expr)
  local text = expr:gsub('#[^\n]*', '')
  local name, behind = text:match '^[%s(]*(%a[%w_]*)()'
  if not name or not AGGREGATES[name:lower()] then return nil end
  local word, list, rest = text:match('^%s*(%a+)%s*(%b())%s*%b()()', behind)
  if not word then
    rest = text:match('^%s*%b()()', behind)
    if not rest then return nil end
    local after
    word, list, after = text:match('^%s*(%a+)%s*(%b())()', rest)
    if word and (word:lower() == 'by' or word:lower() == 'without') then
      rest = after
    else
      word, list = 'by', '()'
    end
  end
  if word:lower() ~= 'by' or text:find('group_[lr]', rest) then return nil end
  return names_in(list)
end

local OF_COUNTERS = { rate = true, irate = true, increase = true, resets = true, changes = true,
  absent = true, absent_over_time = true }

--- A counter, by its name, that is used as if it were a gauge; or nil.
---@param expr string
---@return string?
function promql.bare_counter(expr)
  for at, name in expr:gsub('#[^\n]*', ''):gmatch '()([%a_:][%w_:]*_total)%f[^%w_:]' do
    local outer = expr:sub(1, at - 1):match '([%a_]+)%s*%(%s*$'
    if not OF_COUNTERS[outer or ''] then return name end
  end
end

return promql
