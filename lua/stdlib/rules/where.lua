--- From a declaration and a field's name to the field's own line: Lua tells only the line on which
--- a declaration begins. Reads the file's text as far as is needed for that: tokens, brackets,
--- keys.
local where = {}

local OPENERS = { ['function'] = true, ['do'] = true, ['if'] = true, ['repeat'] = true }
local CLOSERS = { ['end'] = true, ['until'] = true }

--- The next token at or after `at`: its kind, text, first position, the position behind it, and
--- where the contents of a string begin.
local function token(source, at)
  while true do
    local blank = source:match('^%s+()', at)
    at = blank or at
    local level = source:match('^%-%-%[(=*)%[', at)
    if level then
      local _, close = source:find(']' .. level .. ']', at, true)
      at = (close or #source) + 1
    elseif source:find('^%-%-', at) then
      at = source:match('^[^\n]*()', at)
    elseif not blank then
      break
    end
  end
  if at > #source then return nil end
  local word, after = source:match('^([%a_][%w_]*)()', at)
  if word then return 'word', word, at, after end
  local number, behind = source:match('^(%.?%d[%w.]*)()', at)
  if number then return 'number', number, at, behind end
  local quote = source:match('^["\']', at)
  if quote then
    local i = at + 1
    while i <= #source and source:sub(i, i) ~= quote do
      i = i + (source:sub(i, i) == '\\' and 2 or 1)
    end
    return 'string', source:sub(at + 1, i - 1), at, i + 1, at + 1
  end
  local level = source:match('^%[(=*)%[', at)
  if level then
    local first = at + #level + 2
    if source:sub(first, first) == '\n' then first = first + 1 end
    local open, close = source:find(']' .. level .. ']', first, true)
    return 'string', source:sub(first, (open or #source + 1) - 1), at, (close or #source) + 1, first
  end
  return 'sign', source:sub(at, at), at, at + 1
end

local function position_of_line(source, line)
  local at = 1
  for _ = 2, line do
    at = source:find('\n', at, true)
    if not at then return #source + 1 end
    at = at + 1
  end
  return at
end

local function line_and_column(source, position)
  local line, start = 1, 1
  for at in source:gmatch('()\n') do
    if at >= position then break end
    line, start = line + 1, at + 1
  end
  return line, position - start + 1
end

--- Passes over a function's body: whatever it assigns is no field.
local function skip_function(source, at)
  local depth = 1
  while depth > 0 do
    local kind, text, _, after = token(source, at)
    if not kind then return at end
    if kind == 'word' and OPENERS[text] then depth = depth + 1 end
    if kind == 'word' and CLOSERS[text] then depth = depth - 1 end
    at = after
  end
  return at
end

--- What a key at `at` is called, and the position behind its "=": `name =` or `["name"] =`.
local function key_at(source, kind, text, after)
  local name, behind = text, after
  if kind == 'sign' and text == '[' then
    local k, inner, _, next_at = token(source, after)
    local _, bracket, _, close = token(source, next_at or after)
    if k ~= 'string' or bracket ~= ']' then return end
    name, behind = inner, close
  elseif kind ~= 'word' then
    return
  end
  local _, sign, _, value_at = token(source, behind)
  if sign == '=' and source:sub(value_at, value_at) ~= '=' then return name, value_at end
end

local function same(levels, path)
  if #levels ~= #path then return false end
  for i, level in ipairs(levels) do
    if (level.key or level.index) ~= path[i] then return false end
  end
  return true
end

---@class where.Place
---@field line integer
---@field column integer
---@field text? string      the string that is the field's value, where it is written out as one
---@field text_line? integer, text_column? integer  where its contents begin

--- The place of the field that the path leads to from the declaration that begins at `line`; of the
--- nearest field above it that can be found; or of the declaration.
---@param source string
---@param line integer
---@param path (string|integer)[]
---@return where.Place
function where.field(source, line, path)
  local found, best = { line = line, column = 1 }, 0
  local levels = {}
  local at = position_of_line(source, line)
  local function remember(first, value_at)
    local place = {}
    place.line, place.column = line_and_column(source, first)
    local kind, text, _, _, contents = token(source, value_at)
    if kind == 'string' then
      place.text = text
      place.text_line, place.text_column = line_and_column(source, contents)
    end
    found = place
  end
  while true do
    local kind, text, first, after = token(source, at)
    if not kind then return found end
    local name, value_at
    if #levels > 0 then name, value_at = key_at(source, kind, text, after) end
    if kind == 'word' and text == 'function' then
      after = skip_function(source, after)
    elseif name then
      levels[#levels].key, after = name, value_at
    elseif kind == 'sign' and text == '{' then
      levels[#levels + 1] = { index = 1 }
    elseif kind == 'sign' and text == '}' then
      levels[#levels] = nil
      if #levels == 0 then return found end
    elseif kind == 'sign' and (text == ',' or text == ';') and #levels > 0 then
      local level = levels[#levels]
      if not level.key then level.index = level.index + 1 end
      level.key = nil
    end
    -- The first token of an item, or a key, may be the end of the path or the nearest so far.
    local depth_of_path = #levels
    if depth_of_path > best and depth_of_path <= #path and (name or kind ~= 'sign') then
      local head = table.move(path, 1, depth_of_path, 1, {})
      if same(levels, head) then
        remember(first, name and value_at or first)
        best = depth_of_path
        if best == #path then return found end
      end
    end
    at = after
  end
end

--- The place of a position inside the text of a field (line and column in that text, from 1).
---@param place where.Place
---@param line integer
---@param column integer
---@return integer line
---@return integer column
function where.inside(place, line, column)
  if not place.text_line then return place.line, place.column end
  if line == 1 then return place.text_line, place.text_column + column - 1 end
  return place.text_line + line - 1, column
end

return where
