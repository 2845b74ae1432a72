--- Cuts a template into tokens, as Go's text/template/parse does.
local quote = require 'template.quote'

---@class template.Token
---@field kind string   'text', 'left', 'right', 'space', 'word', …, 'error', 'eof', or a keyword
---@field text string   as it stands in the template; of an error, the message
---@field pos integer   where it begins, from 1

local KEYWORDS = {
  block = true, ['break'] = true, continue = true, define = true, ['else'] = true, ['end'] = true,
  ['if'] = true, range = true, ['nil'] = true, template = true, with = true,
}
local MARKS = { ['='] = 'assign', ['|'] = 'pipe', ['('] = 'left_paren', [')'] = 'right_paren' }

-- The place behind the letters, digits and underscores at `at`.
local function word_end(s, at)
  while true do
    at = s:match('^[%w_]*()', at)
    if (s:byte(at) or 0) < 0x80 then return at end
    local char = quote.char_at(s, at)
    if not quote.is_word(char) then return at end
    at = at + #char
  end
end

local function is_word_at(s, at)
  return at <= #s and quote.is_word((quote.char_at(s, at)))
end

-- May a name end here? "$x+2" is no name, lest it look like arithmetic.
local function is_terminator(s, at)
  return at > #s or s:find('^[ \t\r\n.,|:()]', at) ~= nil or s:find('^}}', at) ~= nil
end

-- Go's lexer is lenient: what it takes for a number and is none, the parser finds out. The place
-- behind, and false when a letter follows.
local function number_end(s, at)
  at = s:match('^[+-]?()', at)
  local hex = s:match('^0[xX]()', at)
  local digits = '[%d_]*'
  if hex then
    at, digits = hex, '[%x_]*'
  elseif s:find('^0[oO]', at) then
    at, digits = at + 2, '[0-7_]*'
  elseif s:find('^0[bB]', at) then
    at, digits = at + 2, '[01_]*'
  end
  at = s:match('^' .. digits .. '()', at)
  at = s:match('^%.' .. digits .. '()', at) or at
  if digits == '[%d_]*' then at = s:match('^[eE][+-]?[%d_]*()', at) or at end
  if hex then at = s:match('^[pP][+-]?[%d_]*()', at) or at end
  at = s:match('^i()', at) or at
  if not is_word_at(s, at) then return at, true end
  return at + #quote.char_at(s, at), false
end

-- The place behind the closing delimiter of a quoted string, nil when there is none on the line.
local function quoted_end(s, at, delimiter)
  while true do
    at = s:find('[\\\n' .. delimiter .. ']', at)
    local c = at and s:sub(at, at)
    if c == delimiter then return at + 1 end
    if c ~= '\\' or at == #s or s:sub(at + 1, at + 1) == '\n' then return nil end
    at = at + 1 + #quote.char_at(s, at + 1)
  end
end

local UNTERMINATED = {
  ['"'] = 'unterminated quoted string', ["'"] = 'unterminated character constant',
}

---@param s string
---@return template.Token[]  the last is 'eof' or 'error'
return function(s)
  local tokens = {}
  local function add(kind, from, to) -- to: behind it
    tokens[#tokens + 1] = { kind = kind, text = s:sub(from, to - 1), pos = from }
    return to
  end
  local function fail(pos, message)
    tokens[#tokens + 1] = { kind = 'error', text = message, pos = pos }
    return nil
  end

  local function number(from)
    local at, ok = number_end(s, from)
    local kind = 'number'
    if ok and s:find('^[+-]', at) then
      kind, at, ok = 'complex', number_end(s, at)
      ok = ok and s:byte(at - 1) == 105 -- i
    end
    if ok then return add(kind, from, at) end
    return fail(from, 'bad number syntax: ' .. quote.quote(s:sub(from, at - 1)))
  end

  local function name(kind, from, to)
    if is_terminator(s, to) then
      local text = s:sub(from, to - 1)
      if kind == 'word' and KEYWORDS[text] then kind = text end
      if kind == 'word' and (text == 'true' or text == 'false') then kind = 'bool' end
      return add(kind, from, to)
    end
    local _, code = quote.char_at(s, to)
    return fail(from, 'bad character ' .. quote.unicode(code or 0xFFFD))
  end

  -- One token of an action at `at`; depth counts the open parentheses. The place behind it, nil
  -- after an error.
  local function token(at, depth)
    local c = s:sub(at, at)
    local spaces = s:match('^[ \t\r\n]+()', at)
    if spaces then
      -- The space of " -}}" belongs to the delimiter.
      return add('space', at, s:find('^%-}}', spaces) and spaces - 1 or spaces), depth
    end
    if c == '(' then return add('left_paren', at, at + 1), depth + 1 end
    if c == ')' then
      add('right_paren', at, at + 1)
      if depth == 0 then return fail(at, "unexpected right paren U+0029 ')'") end
      return at + 1, depth - 1
    end
    if MARKS[c] then return add(MARKS[c], at, at + 1), depth end
    if c == ':' then
      if s:sub(at + 1, at + 1) ~= '=' then return fail(at, 'expected :=') end
      return add('declare', at, at + 2), depth
    end
    if c == '"' or c == "'" then
      local to = quoted_end(s, at + 1, c)
      if not to then return fail(at, UNTERMINATED[c]) end
      return add(c == '"' and 'string' or 'char', at, to), depth
    end
    if c == '`' then
      local to = s:find('`', at + 1, true)
      if not to then return fail(at, 'unterminated raw quoted string') end
      return add('string', at, to + 1), depth
    end
    if c == '$' then return name('variable', at, word_end(s, at + 1)), depth end
    if c == '.' and not s:find('^%d', at + 1) then
      if at == #s then return number(at), depth end
      if is_terminator(s, at + 1) then return add('dot', at, at + 1), depth end
      return name('field', at, word_end(s, at + 1)), depth
    end
    if s:find('^[%d+.-]', at) then return number(at), depth end
    if is_word_at(s, at) then return name('word', at, word_end(s, at)), depth end
    if c:find('^[!-~]') then return add('mark', at, at + 1), depth end
    local _, code = quote.char_at(s, at)
    return fail(at, 'unrecognized character in action: ' .. quote.unicode(code or 0xFFFD))
  end

  -- Behind the comment whose {{ is at `from`, or nil after an error.
  local function comment(from, at)
    local close = s:find('*/', at + 2, true)
    if not close then return fail(from, 'unclosed comment') end
    local to = s:match('^}}()', close + 2)
    if to then return to end
    to = s:match('^[ \t\r\n]%-}}[ \t\r\n]*()', close + 2)
    return to or fail(from, 'comment ends before closing delimiter')
  end

  -- Behind the action whose {{ is at `left`, or nil after an error.
  local function action(left)
    local at = s:match('^%-[ \t\r\n]()', left + 2) or left + 2
    if s:find('^/%*', at) then return comment(left, at) end
    add('left', left, left + 2)
    local depth = 0
    while true do
      local trim = s:match('^[ \t\r\n]%-()}}', at)
      if trim or s:find('^}}', at) then
        if depth > 0 then return fail(at, 'unclosed left paren') end
        at = add('right', trim or at, (trim or at) + 2)
        return trim and s:match('^[ \t\r\n]*()', at) or at
      end
      if at > #s then return fail(at, 'unclosed action') end
      at, depth = token(at, depth)
      if not at then return nil end
    end
  end

  local at = 1
  while at do
    local left = s:find('{{', at, true)
    local stop = left or #s + 1
    if left and s:find('^%-[ \t\r\n]', left + 2) then -- {{- eats the spaces before it
      while stop > at and s:find('^[ \t\r\n]', stop - 1) do stop = stop - 1 end
    end
    if stop > at then add('text', at, stop) end
    if not left then
      add('eof', #s + 1, #s + 1)
      break
    end
    at = action(left)
  end
  return tokens
end
