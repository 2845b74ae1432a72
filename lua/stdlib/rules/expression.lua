--- Conditions over named numbers, such as "days_until_threshold < 3 and probability > 0.5":
--- comparisons, and, or, not, arithmetic. Read by hand and checked before they are ever asked, so
--- that a rule's text can neither run code nor fail at three in the morning.
local check = require 'check'

local expression = {}

local MAX_LENGTH, MAX_DEPTH = 1000, 50

---@class expression.Problem
---@field message string
---@field line integer, column integer  in the text, from 1

-- -- tokens ---------------------------------------------------------------------------------------

local WORDS = { ['and'] = true, ['or'] = true, ['not'] = true, ['true'] = true, ['false'] = true }
local MEANT = { ['&&'] = 'and', ['||'] = 'or', ['!'] = 'not', ['='] = '==' }

local Reader = {}
Reader.__index = Reader

function Reader:fail(message, at)
  error({ expression = true, message = message, at = at or self.at }, 0)
end

--- Reads the next token into kind, text, at; `after` is where the one behind it begins.
function Reader:advance()
  local source = self.source
  local at = source:match('^%s*()', self.after)
  self.at = at
  if at > #source then
    self.kind, self.text, self.after = 'end', 'the end', at
    return
  end
  local word, behind = source:match('^([%a_][%w_.]*)()', at)
  if word then
    self.kind, self.text, self.after = WORDS[word] and word or 'name', word, behind
    return
  end
  local number = source:match('^%d+%.?%d*[eE][+-]?%d+', at) or source:match('^%d+%.?%d*', at)
    or source:match('^%.%d+', at)
  if number then
    self.kind, self.text, self.after = 'number', number, at + #number
    if source:find('^[%w_.]', self.after) then
      self:fail(('"%s" is no number; a time is a number of days'):format(
        source:match('^[%w_.]+', at)))
    end
    return
  end
  local sign = source:match('^[<>=~!]=', at) or source:match('^&&', at) or source:match('^||', at)
    or source:match('^[<>()+*/%-]', at) or source:match('^[=!]', at)
  if not sign then
    self:fail(('unexpected "%s"'):format(source:match('^' .. utf8.charpattern, at)))
  end
  if MEANT[sign] then self:fail(('unexpected "%s"; here it is "%s"'):format(sign, MEANT[sign])) end
  self.kind, self.text, self.after = sign == '!=' and '~=' or sign, sign, at + #sign
end

-- -- grammar: each function returns the node and its type, "number" or "condition" ---------------

local function shown(reader)
  return reader.kind == 'end' and 'the end' or ('"%s"'):format(reader.text)
end

--- Wants a type of what stands at a place.
function Reader:want(wanted, got, at, by)
  if wanted == got then return end
  self:fail(('"%s" takes a %s, not a %s'):format(by, wanted, got), at)
end

local or_level

--- A name, a number, a condition in words, or what is in parentheses.
function Reader:primary()
  local kind, text, at = self.kind, self.text, self.at
  if kind == 'number' then
    self:advance()
    local value = tonumber(text) + 0.0
    return function() return value end, 'number'
  elseif kind == 'true' or kind == 'false' then
    self:advance()
    return function() return kind == 'true' end, 'condition'
  elseif kind == 'name' then
    if text == 'never' or text == 'math.huge' then
      self:advance()
      return function() return math.huge end, 'number'
    end
    if not self.known[text] then
      self:fail(check.unknown('name', text, self.names), at)
    end
    self.used[text] = true
    self:advance()
    return function(values) return values[text] end, 'number'
  elseif kind == '(' then
    self.depth = self.depth + 1
    if self.depth > MAX_DEPTH then self:fail 'nested too deep' end
    self:advance()
    local node, type_of = or_level(self)
    if self.kind ~= ')' then self:fail(('expected ")", not %s'):format(shown(self))) end
    self.depth = self.depth - 1
    self:advance()
    return node, type_of
  end
  self:fail(('expected a name or a number, not %s'):format(shown(self)))
end

function Reader:unary()
  if self.kind ~= '-' then return self:primary() end
  local depth = 0
  while self.kind == '-' do
    self:advance()
    depth = depth + 1
  end
  local at = self.at
  local node, type_of = self:primary()
  self:want('number', type_of, at, '-')
  if depth % 2 == 0 then return node, 'number' end
  return function(values) return -node(values) end, 'number'
end

local ARITHMETIC = {
  ['*'] = function(a, b) return function(v) return a(v) * b(v) end end,
  ['/'] = function(a, b) return function(v) return a(v) / b(v) end end,
  ['+'] = function(a, b) return function(v) return a(v) + b(v) end end,
  ['-'] = function(a, b) return function(v) return a(v) - b(v) end end,
}

--- A level of the grammar: operators of the same rank, from left to right.
local function level(below, operators, make)
  return function(self)
    local at = self.at
    local node, type_of = below(self)
    while operators[self.kind] do
      local sign, text = self.kind, self.text
      self:want(make.takes, type_of, at, text)
      self:advance()
      at = self.at
      local right, right_type = below(self)
      self:want(make.takes, right_type, at, text)
      node, type_of = make[sign](node, right), make.gives
    end
    return node, type_of
  end
end

local function arithmetic(below, operators)
  return level(below, operators, setmetatable({ takes = 'number', gives = 'number' },
    { __index = ARITHMETIC }))
end

local product = arithmetic(Reader.unary, { ['*'] = true, ['/'] = true })
local sum = arithmetic(product, { ['+'] = true, ['-'] = true })

-- NaN compares false with everything, also by ~=: nothing is known of it.
local COMPARE = {
  ['<'] = function(a, b) return a < b end,
  ['<='] = function(a, b) return a <= b end,
  ['>'] = function(a, b) return a > b end,
  ['>='] = function(a, b) return a >= b end,
  ['=='] = function(a, b) return a == b end,
  ['~='] = function(a, b) return a ~= b and a == a and b == b end,
}

local function comparison(self)
  local at = self.at
  local left, left_type = sum(self)
  local compare = COMPARE[self.kind]
  if not compare then return left, left_type end
  local text = self.text
  self:want('number', left_type, at, text)
  self:advance()
  at = self.at
  local right, right_type = sum(self)
  self:want('number', right_type, at, text)
  if COMPARE[self.kind] then self:fail 'comparisons are joined by "and" or "or"' end
  return function(v) return compare(left(v), right(v)) end, 'condition'
end

local function negation(self)
  if self.kind ~= 'not' then return comparison(self) end
  local odd = false
  while self.kind == 'not' do
    self:advance()
    odd = not odd
  end
  local at = self.at
  local node, type_of = comparison(self)
  self:want('condition', type_of, at, 'not')
  if not odd then return node, type_of end
  return function(v) return not node(v) end, 'condition'
end

local CONDITION = { takes = 'condition', gives = 'condition',
  ['and'] = function(a, b) return function(v) return a(v) and b(v) end end,
  ['or'] = function(a, b) return function(v) return a(v) or b(v) end end }

local and_level = level(negation, { ['and'] = true }, CONDITION)
or_level = level(and_level, { ['or'] = true }, CONDITION)

-- -- the whole ------------------------------------------------------------------------------------

local function place(source, at)
  local line, start = 1, 1
  for newline in source:sub(1, at - 1):gmatch '()\n' do line, start = line + 1, newline + 1 end
  return line, at - start + 1
end

--- Reads a condition.
---@param text string
---@param names string[]  the numbers that it may use; "never" is infinite
---@return (fun(values: table<string, number>): boolean)? holds
---@return expression.Problem|table<string, boolean> problem_or_used  which names it uses
function expression.compile(text, names)
  local known = {}
  for _, name in ipairs(names) do known[name] = true end
  local reader = setmetatable({ source = text, after = 1, at = 1, known = known, names = names,
    used = {}, depth = 0 }, Reader)
  local ok, node = pcall(function()
    if #text > MAX_LENGTH then reader:fail(('longer than %d bytes'):format(MAX_LENGTH)) end
    reader:advance()
    local node, type_of = or_level(reader)
    if reader.kind ~= 'end' then reader:fail(('unexpected %s'):format(shown(reader))) end
    if type_of ~= 'condition' then
      reader:fail('a number is no condition: compare it with another', 1)
    end
    return node
  end)
  if ok then return node, reader.used end
  if type(node) ~= 'table' or not node.expression then error(node, 0) end
  local line, column = place(text, node.at)
  return nil, { message = node.message, line = line, column = column }
end

return expression
