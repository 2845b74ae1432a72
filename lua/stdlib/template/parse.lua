--- Builds the trees of a template, as Go's text/template/parse does: the same grammar, scopes and
--- messages.
local lex = require 'template.lex'
local number = require 'template.number'
local quote = require 'template.quote'

local M = {}

local MAX_NESTING = 200 -- blocks and parentheses; the parser and the walker recurse over them

---@class template.Node
---@field kind string
---@field pos integer  in the text, from 1: where Go says an error is

---@class template.Tree
---@field name string
---@field root template.Node

-- What an operand's token becomes; the others are no operands.
local OPERANDS = {
  word = true, dot = true, ['nil'] = true, variable = true, field = true, bool = true, char = true,
  complex = true, number = true, left_paren = true, string = true,
}
local KEYWORDS = {
  block = true, ['break'] = true, continue = true, dot = true, define = true, ['else'] = true,
  ['end'] = true, ['if'] = true, ['nil'] = true, range = true, template = true, with = true,
}
local CONSTANTS = { bool = true, dot = true, ['nil'] = true, number = true, string = true }

-- As Go shows a token in a message.
local function show(token)
  if token.kind == 'eof' then return 'EOF' end
  if token.kind == 'error' then return token.text end
  if KEYWORDS[token.kind] then return '<' .. token.text .. '>' end
  if #token.text > 10 then return quote.quote(quote.truncate(token.text, 10)) .. '...' end
  return quote.quote(token.text)
end

--- A node as Go writes it back: for messages.
---@param node template.Node
---@return string
local function source(node)
  local kind = node.kind
  if kind == 'pipe' then
    local commands = {}
    for i, command in ipairs(node.commands) do commands[i] = source(command) end
    local text = table.concat(commands, ' | ')
    if #node.names == 0 then return text end
    return table.concat(node.names, ', ') .. (node.assigns and ' = ' or ' := ') .. text
  elseif kind == 'command' then
    local args = {}
    for i, arg in ipairs(node.args) do
      args[i] = arg.kind == 'pipe' and '(' .. source(arg) .. ')' or source(arg)
    end
    return table.concat(args, ' ')
  elseif kind == 'chain' then
    local base = node.base.kind == 'pipe' and '(' .. source(node.base) .. ')' or source(node.base)
    return base .. '.' .. table.concat(node.fields, '.')
  elseif kind == 'action' then
    return '{{' .. source(node.pipe) .. '}}'
  elseif kind == 'template' then
    local argument = node.pipe and ' ' .. source(node.pipe) or ''
    return '{{template ' .. quote.quote(node.name) .. argument .. '}}'
  elseif kind == 'else' or kind == 'end' then
    return '{{' .. kind .. '}}'
  end
  return node.text
end
M.source = source

---@class template.Parser
---@field tokens template.Token[]
---@field at integer
---@field name string
---@field functions table<string, any>
---@field trees table<string, template.Tree>
---@field variables string[]  in scope
---@field ranges integer      open around here
---@field nesting integer
---@field action? integer     where the action begins
local Parser = {}
Parser.__index = Parser

function Parser:fail(message, pos)
  local token = self.tokens[math.min(self.at, #self.tokens)]
  error({ message = message, pos = pos or token.pos }, 0)
end

function Parser:peek()
  while self.tokens[self.at].kind == 'space' do self.at = self.at + 1 end
  return self.tokens[self.at]
end

-- The end is never passed: 'eof' and 'error' are met again and again.
function Parser:next()
  local token = self:peek()
  if token.kind ~= 'eof' and token.kind ~= 'error' then self.at = self.at + 1 end
  return token
end

local function line(text, pos)
  local _, n = text:sub(1, pos - 1):gsub('\n', '')
  return n + 1
end

function Parser:unexpected(token, context)
  if token.kind ~= 'error' then
    self:fail(('unexpected %s in %s'):format(show(token), context), token.pos)
  end
  local message, started = token.text, self.action and line(self.text, self.action)
  if started and started ~= line(self.text, token.pos) then
    local where = (' started at %s:%d'):format(self.name, started)
    message = message .. (message:find(' action$') and where or ' in action' .. where)
  end
  self:fail(message, token.pos)
end

function Parser:expect(kind, context)
  local token = self:next()
  if token.kind ~= kind then self:unexpected(token, context) end
  return token
end

function Parser:enter()
  self.nesting = self.nesting + 1
  if self.nesting > MAX_NESTING then self:fail('max expression depth exceeded') end
end

function Parser:leave() self.nesting = self.nesting - 1 end

function Parser:unquote(token)
  local text = quote.unquote(token.text)
  if not text then self:fail('invalid syntax', token.pos) end
  return text
end

-- A literal, a name, $x, .x or a parenthesised pipeline; nil when the next token is none of them.
function Parser:term()
  local token = self:peek()
  local kind, text, pos = token.kind, token.text, token.pos
  if not OPERANDS[kind] then return nil end
  self:next()
  if kind == 'word' then
    if not self.functions[text] then
      self:fail(('function %s not defined'):format(quote.quote(text)), pos)
    end
    return { kind = 'function', pos = pos, text = text }
  elseif kind == 'variable' then
    for _, known in ipairs(self.variables) do
      if known == text then
        return { kind = 'variable', pos = pos, text = text, name = text, fields = {} }
      end
    end
    self:fail(('undefined variable %s'):format(quote.quote(text)), pos)
  elseif kind == 'field' then
    return { kind = 'field', pos = pos, text = text, fields = { text:sub(2) } }
  elseif kind == 'bool' then
    return { kind = 'bool', pos = pos, text = text, value = text == 'true' }
  elseif kind == 'string' then
    return { kind = 'string', pos = pos, text = text, value = self:unquote(token) }
  elseif kind == 'left_paren' then
    self:enter()
    local pipe = self:pipeline('parenthesized pipeline', 'right_paren')
    self:leave()
    return pipe
  elseif kind == 'dot' or kind == 'nil' then
    return { kind = kind, pos = pos, text = text }
  end
  local constant, message = number.parse(text, kind)
  if not constant then self:fail(message, pos) end
  return { kind = 'number', pos = pos, text = text, number = constant }
end

-- A term and the fields behind it.
function Parser:operand()
  local node = self:term()
  local token = self.tokens[self.at]
  if not node or token.kind ~= 'field' then return node end
  if CONSTANTS[node.kind] then
    self:fail('unexpected . after term ' .. quote.quote(node.text), token.pos)
  end
  if node.kind ~= 'field' and node.kind ~= 'variable' then
    node = { kind = 'chain', base = node, fields = {} }
  end
  node.pos = token.pos
  while token.kind == 'field' do
    node.fields[#node.fields + 1] = token.text:sub(2)
    if node.text then node.text = node.text .. token.text end
    self.at = self.at + 1
    token = self.tokens[self.at]
  end
  return node
end

-- Operands between spaces, up to a pipe, which it takes, or the end of the pipeline.
function Parser:command()
  local node = { kind = 'command', pos = self:peek().pos, args = {} }
  while true do
    self:peek()
    node.args[#node.args + 1] = self:operand()
    local token = self.tokens[self.at]
    if token.kind == 'pipe' then
      self.at = self.at + 1
      break
    elseif token.kind == 'right' or token.kind == 'right_paren' then
      break
    elseif token.kind ~= 'space' then
      self:unexpected(token, 'operand')
    end
  end
  if #node.args == 0 then self:fail('empty command') end
  return node
end

-- "$x :=", "$x =", or in a range "$i, $x :=".
function Parser:declarations(pipe, context)
  while self:peek().kind == 'variable' do
    local variable, at = self:next(), self.at
    local token = self:next()
    local comma = token.kind == 'mark' and token.text == ','
    if token.kind ~= 'declare' and token.kind ~= 'assign' and not comma then
      self.at = at - 1 -- an operand
      return
    end
    pipe.assigns = token.kind == 'assign'
    pipe.names[#pipe.names + 1] = variable.text
    self.variables[#self.variables + 1] = variable.text
    if not comma then return end
    if context ~= 'range' or #pipe.names > 1 then
      self:fail('too many declarations in ' .. context, token.pos)
    end
    local kind = self:peek().kind
    if kind ~= 'variable' and kind ~= 'right' and kind ~= 'right_paren' then
      self:fail('range can only initialize variables')
    end
  end
end

function Parser:pipeline(context, closing)
  local pipe = { kind = 'pipe', pos = self:peek().pos, names = {}, assigns = false, commands = {} }
  self:declarations(pipe, context)
  while self:peek().kind ~= closing do
    local token = self:peek()
    if not OPERANDS[token.kind] then self:unexpected(token, context) end
    pipe.commands[#pipe.commands + 1] = self:command()
  end
  local close = self:next()
  if #pipe.commands == 0 then self:fail('missing value for ' .. context, close.pos) end
  for i = 2, #pipe.commands do
    if CONSTANTS[pipe.commands[i].args[1].kind] then
      self:fail('non executable command in pipeline stage ' .. i, pipe.commands[i].pos)
    end
  end
  return pipe
end

-- if, with, range, of which the keyword has been read.
function Parser:control(kind)
  self:enter()
  local outer = #self.variables
  local pipe = self:pipeline(kind, 'right')
  local node = { kind = kind, pos = pipe.pos, pipe = pipe }
  self.ranges = self.ranges + (kind == 'range' and 1 or 0)
  local closing
  node.list, closing = self:list()
  self.ranges = self.ranges - (kind == 'range' and 1 or 0)
  if closing.kind == 'else' then
    if closing.chained == kind then -- {{else if}}: one {{end}} ends both
      self:next()
      node.otherwise = { kind = 'list', pos = closing.pos, self:control(kind) }
    else
      if closing.chained == 'with' then self:unexpected(self:peek(), 'else') end
      node.otherwise, closing = self:list()
      if closing.kind ~= 'end' then
        self:fail('expected end; found ' .. source(closing), closing.pos)
      end
    end
  end
  for i = #self.variables, outer + 1, -1 do self.variables[i] = nil end
  self:leave()
  return node
end

function Parser:else_control()
  local token = self:peek()
  if token.kind == 'if' or token.kind == 'with' then
    return { kind = 'else', pos = token.pos, chained = token.kind }
  end
  return { kind = 'else', pos = self:expect('right', 'else').pos }
end

-- A tree of its own scope, of the text up to {{end}}.
function Parser:definition(name, context)
  local variables, ranges = self.variables, self.ranges
  self.variables, self.ranges = { '$' }, 0
  self:enter()
  local root, closing = self:list()
  self:leave()
  if closing.kind ~= 'end' then
    self:fail(('unexpected %s in %s'):format(source(closing), context), closing.pos)
  end
  self:add { name = name, root = root }
  self.variables, self.ranges = variables, ranges
end

function Parser:template_name(context)
  return self:unquote(self:expect('string', context))
end

function Parser:block()
  local token = self:peek()
  local name = self:template_name('block clause')
  local pipe = self:pipeline('block clause', 'right')
  self:definition(name, 'block clause')
  return { kind = 'template', pos = token.pos, name = name, pipe = pipe }
end

function Parser:template()
  local token = self:peek()
  local name, pipe = self:template_name('template clause'), nil
  if self:peek().kind ~= 'right' then
    pipe = self:pipeline('template clause', 'right')
  else
    self:next()
  end
  return { kind = 'template', pos = token.pos, name = name, pipe = pipe }
end

function Parser:jump(token)
  local kind = token.kind
  local close = self:next()
  if close.kind ~= 'right' then self:unexpected(close, '{{' .. kind .. '}}') end
  if self.ranges == 0 then self:fail(('{{%s}} outside {{range}}'):format(kind), token.pos) end
  return { kind = kind, pos = token.pos }
end

-- What stands between {{ and }}, of which the {{ has been read.
function Parser:read_action()
  local token = self:peek()
  local kind = token.kind
  if kind == 'if' or kind == 'range' or kind == 'with' then
    self:next()
    return self:control(kind)
  elseif kind == 'else' then
    self:next()
    return self:else_control()
  elseif kind == 'end' then
    self:next()
    return { kind = 'end', pos = self:expect('right', 'end').pos }
  elseif kind == 'block' or kind == 'template' then
    self:next()
    return self[kind](self)
  elseif kind == 'break' or kind == 'continue' then
    self:next()
    return self:jump(token)
  end
  return { kind = 'action', pos = token.pos, pipe = self:pipeline('command', 'right') }
end

function Parser:text_or_action()
  local token = self:next()
  if token.kind == 'text' then return { kind = 'text', pos = token.pos, text = token.text } end
  if token.kind ~= 'left' then self:unexpected(token, 'input') end
  self.action = token.pos
  local node = self:read_action()
  self.action = nil
  return node
end

-- Everything up to {{end}} or {{else}}, which is the second result.
function Parser:list()
  local list = { kind = 'list', pos = self:peek().pos }
  while self:peek().kind ~= 'eof' do
    local node = self:text_or_action()
    if node.kind == 'end' or node.kind == 'else' then return list, node end
    list[#list + 1] = node
  end
  self:fail('unexpected EOF')
end

local function is_empty(list)
  for _, node in ipairs(list) do
    if node.kind ~= 'text' or node.text:find('%S') then return false end
  end
  return true
end

local MULTIPLE = 'template: multiple definition of template '

-- An empty definition gives way to another; two that say something are a mistake.
function Parser:add(tree)
  local known = self.trees[tree.name]
  if not known or is_empty(known.root) then
    self.trees[tree.name] = tree
  elseif not is_empty(tree.root) then
    self:fail(MULTIPLE .. quote.quote(tree.name))
  end
end

function Parser:top()
  local root = { kind = 'list', pos = 1 }
  while self:peek().kind ~= 'eof' do
    local left = self.at
    if self:next().kind == 'left' and self:peek().kind == 'define' then
      self:next()
      local name = self:template_name('define clause')
      self:expect('right', 'define clause')
      self:definition(name, 'define clause')
    else
      self.at = left
      local node = self:text_or_action()
      if node.kind == 'end' or node.kind == 'else' then
        self:fail('unexpected ' .. source(node), node.pos)
      end
      root[#root + 1] = node
    end
  end
  local known = self.trees[self.name]
  if known and not is_empty(known.root) then self:fail(MULTIPLE .. quote.quote(self.name)) end
  self.trees[self.name] = { name = self.name, root = root }
end

--- Where a byte of the text is.
---@return integer line    from 1
---@return integer column  in bytes, from 1
function M.position(text, pos)
  local head = text:sub(1, pos - 1)
  local _, lines = head:gsub('\n', '')
  return lines + 1, #head:match('[^\n]*$') + 1
end

---@param name string
---@param text string
---@param functions table<string, any>  those that may be called
---@param variables string[]            those the top level finds declared
---@return table<string, template.Tree>? trees
---@return {message: string, line: integer, column: integer}? problem
function M.parse(name, text, functions, variables)
  local parser = setmetatable({
    name = name, text = text, tokens = lex(text), at = 1, functions = functions, trees = {},
    variables = { '$', table.unpack(variables) }, ranges = 0, nesting = 0,
  }, Parser)
  local ok, problem = pcall(parser.top, parser)
  if ok then return parser.trees end
  if type(problem) ~= 'table' then error(problem, 0) end
  local at_line, column = M.position(text, problem.pos)
  return nil, { message = problem.message, line = at_line, column = column }
end

return M
