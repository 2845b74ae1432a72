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

return promql
