--- What can be said of an expression without evaluating it: whether its texts and brackets end.
--- Whether it means anything the source says, when it is asked.
local promql = {}

local CLOSES = { ['('] = ')', ['['] = ']', ['{'] = '}' }

--- Behind the text that begins at a quote; nil where it does not end.
local function behind_text(expr, at, quote)
  if quote == '`' then return select(2, expr:find('`', at + 1, true)) end
  at = at + 1
  while at <= #expr do
    local c = expr:sub(at, at)
    if c == quote then return at end
    if c == '\n' then return nil end
    at = at + (c == '\\' and 2 or 1)
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
  local open, at = {}, 1
  while true do
    at = expr:find('[%(%)%[%]{}"\'`#]', at)
    if not at then break end
    local c = expr:sub(at, at)
    if c == '#' then
      at = expr:find('\n', at, true) or #expr
    elseif CLOSES[c] then
      open[#open + 1] = { c = c, at = at }
    elseif c:find '["\'`]' then
      local last = behind_text(expr, at, c)
      if not last then return 'a text that begins here does not end', place(expr, at) end
      at = last
    else
      local before = table.remove(open)
      if not before or CLOSES[before.c] ~= c then
        return before and ('"%s" is closed by "%s"'):format(before.c, c)
          or ('there is no bracket that this "%s" closes'):format(c), place(expr, at)
      end
    end
    at = at + 1
  end
  local left = open[#open]
  if left then return ('"%s" is not closed'):format(left.c), place(expr, left.at) end
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
