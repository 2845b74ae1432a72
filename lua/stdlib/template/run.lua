--- Expands the trees of a template: walks them as Go's text/template/exec does, with the same
--- scopes, conversions and messages, and within bounds.
local builtins = require 'template.builtins'
local parse = require 'template.parse'
local quote = require 'template.quote'
local values = require 'template.values'

local types, none, type_of, is_true = values.types, values.none, values.type_of, values.is_true
local source = parse.source

local MAX_STEPS = 100000   -- nodes, arguments, and 16 bytes of text each
local MAX_OUTPUT = 65536   -- bytes, of the whole and of any text on the way
local MAX_DEPTH = 500      -- templates within templates
local ANY = values.nil_any.type.name

---@class template.Run
---@field data table          what the caller gave
---@field functions table<string, template.Function>
---@field trees table<string, template.Tree>
---@field patterns table      compiled: those kept, by their text; n: how many
---@field tree template.Tree  the one that is walked
---@field node template.Node  for messages
---@field names string[]      the variables, innermost last
---@field values any[]
---@field top integer         how many they are
---@field depth integer
---@field steps integer       left
---@field out string[]
---@field size integer
local Run = {}
Run.__index = Run

function Run:fail(message) error({ message = message, node = self.node, tree = self.tree }, 0) end

--- Counts work; ends the expansion when it was too much.
---@param steps integer
function Run:charge(steps)
  self.steps = self.steps - steps
  if self.steps < 0 then
    values.too_much(('the template takes more than %d steps'):format(MAX_STEPS))
  end
end

function Run:bounded(s)
  if #s > MAX_OUTPUT then
    values.too_much(('the text becomes longer than %d bytes'):format(MAX_OUTPUT))
  end
  self:charge(#s // 16)
  return s
end

function Run:write(s)
  self.size = self.size + #s
  if self.size > MAX_OUTPUT then
    values.too_much(('the text becomes longer than %d bytes'):format(MAX_OUTPUT))
  end
  self.out[#self.out + 1] = s
end

function Run:push(name, value)
  local top = self.top + 1
  self.names[top], self.values[top], self.top = name, value, top
end

function Run:slot(name)
  for i = self.top, 1, -1 do
    if self.names[i] == name then return i end
  end
  self:fail('undefined variable: ' .. name)
end

-- Is the value one the parameter takes? Lua's nil as the type: any.
function Run:check(v, parameter)
  if parameter == 'value' or not parameter then return v end
  if parameter == 'any' then return v == values.nil_any and none or v end
  if parameter == 'string' and type(v) == 'string' then return v end
  local expected = types[parameter]
  local t = type_of(v)
  if t == expected then return v end
  if v ~= none then
    self:fail(('wrong type for value; expected %s; got %s'):format(expected.name, t.name))
  end
  if parameter == 'sample' then return values.nil_sample end
  if parameter == 'vector' then return values.nil_vector end
  self:fail('invalid value; expected ' .. expected.name)
end

function Run:number(node)
  local n = node.number
  self.node = node
  if n.complex then return n.complex end
  local hex = n.text:find('^0[xX].') and not n.text:find('[pP]')
  local char = n.text:sub(1, 1) == "'"
  if n.float and not hex and not char and n.text:find('[.eEpP]') then return n.float end
  if n.int then return n.int end
  if n.is_uint then self:fail(n.text .. ' overflows int') end
  return none
end

-- A constant where a parameter of that type stands.
function Run:constant(node, parameter)
  self.node = node
  if parameter == 'string' then
    if node.kind ~= 'string' then self:fail('expected string; found ' .. source(node)) end
    return node.value
  elseif parameter ~= 'any' and parameter ~= 'value' then
    self:fail(("can't handle %s for arg of type %s"):format(source(node), types[parameter].name))
  end
  if node.kind == 'number' then return self:number(node) end
  return node.value
end

function Run:null(parameter)
  if parameter == 'string' then self:fail('cannot assign nil to string') end
  return self:check(none, parameter)
end

function Run:argument(dot, node, parameter)
  local kind = node.kind
  self.node = node
  if kind == 'string' and parameter ~= 'sample' and parameter ~= 'vector' then return node.value end
  local v
  if kind == 'variable' then
    v = self:variable(node, 1, nil)
  elseif kind == 'field' then
    v = self:chain(dot, node, 1, nil)
  elseif kind == 'pipe' then
    v = self:pipeline(dot, node)
  elseif kind == 'function' then
    v = self:call(dot, node, node, {}, nil)
  elseif kind == 'chain' then
    v = self:base_chain(dot, node, 1, nil)
  elseif kind == 'dot' then
    v = dot
  elseif kind == 'nil' then
    return self:null(parameter)
  else
    return self:constant(node, parameter)
  end
  return self:check(v, parameter)
end

-- One field of a value; `given` when it is the last and something is given to it, `boxed` when the
-- value is what args keeps.
function Run:field(receiver, name, given, boxed)
  if receiver == none then return none end
  local t = type_of(receiver)
  if receiver == values.nil_any then
    self:fail(('nil pointer evaluating %s.%s'):format(t.name, name))
  end
  if t.kind == 'map' then
    if given then self:fail(name .. ' is not a method but has arguments') end
    local v = receiver.items[name]
    if v == nil then return t.zero end
    return v
  elseif t.fields then
    for _, known in ipairs(t.fields) do
      if known == name then
        if receiver.null then self:fail(('nil pointer evaluating %s.%s'):format(t.name, name)) end
        if given then self:fail(name .. ' has arguments but cannot be invoked as function') end
        return receiver[name]
      end
    end
  end
  self:fail(("can't evaluate field %s in type %s"):format(name, boxed and ANY or t.name))
end

function Run:chain(receiver, node, count, final)
  local fields, boxed = node.fields, false
  for i = 1, #fields do
    local given = i == #fields and (count > 1 or final ~= nil)
    local was_boxed = boxed
    boxed = type_of(receiver) == types.args
    receiver = self:field(receiver, fields[i], given, was_boxed)
  end
  return receiver
end

function Run:base_chain(dot, node, count, final)
  if node.base.kind == 'nil' then
    self:fail('indirection through explicit nil in ' .. source(node))
  end
  local base = self:argument(dot, node.base, nil)
  self.node = node.base.kind == 'function' and node.base or self.node
  return self:chain(base, node, count, final)
end

function Run:not_a_function(node, count, final)
  if count > 1 or final ~= nil then
    self:fail("can't give argument to non-function " .. source(node))
  end
end

function Run:variable(node, count, final)
  local v = self.values[self:slot(node.name)]
  if #node.fields > 0 then return self:chain(v, node, count, final) end
  self:not_a_function(node, count, final)
  return v
end

-- and, or: the first argument that settles it, the later ones unread.
function Run:settle(dot, args, wanted, final)
  local v
  for i = 2, #args do
    v = self:argument(dot, args[i], 'value')
    if is_true(v) == wanted then return v end
  end
  if final ~= nil then v = final end
  return v
end

function Run:check_count(name, f, given, final)
  local least, n = #f.parameters, given + (final ~= nil and 1 or 0)
  if f.variadic and n < least then
    self:fail(('wrong number of args for %s: want at least %d got %d'):format(name, least, given))
  elseif not f.variadic and n ~= least then
    self:fail(('wrong number of args for %s: want %d got %d'):format(name, least, n))
  end
end

-- Calls the function `node` names with the arguments behind it and, last, what the pipe brings.
-- `command` is where an error is said to be.
function Run:call(dot, node, command, args, final)
  self.node = node
  local name, given = node.text, math.max(#args - 1, 0)
  local f = self.functions[name]
  self:check_count(name, f, given, final)
  self:charge(1 + given)
  if name == 'and' or name == 'or' then return self:settle(dot, args, name == 'or', final) end
  local actual = {}
  for i = 1, given do
    actual[i] = self:argument(dot, args[i + 1], f.parameters[i] or f.variadic)
  end
  if final ~= nil then
    actual[given + 1] = self:check(final, f.parameters[given + 1] or f.variadic)
  end
  local v, message = f.call(self, table.unpack(actual))
  if type(v) == 'string' then return self:bounded(v) end
  if v == nil then
    self.node = command
    self:fail(('error calling %s: %s'):format(name, message))
  end
  return v
end

function Run:command(dot, command, final)
  local args = command.args
  local node, count = args[1], #args
  local kind = node.kind
  if kind == 'function' then return self:call(dot, node, command, args, final) end
  if kind == 'pipe' then
    self:not_a_function(node, count, final)
    return self:pipeline(dot, node)
  end
  self.node = node
  if kind == 'variable' then return self:variable(node, count, final) end
  if kind == 'field' then return self:chain(dot, node, count, final) end
  if kind == 'chain' then return self:base_chain(dot, node, count, final) end
  self:not_a_function(node, count, final)
  if kind == 'dot' then return dot end
  if kind == 'nil' then self:fail('nil is not a command') end
  if kind == 'number' then return self:number(node) end
  return node.value
end

function Run:pipeline(dot, pipe)
  self.node = pipe
  local value
  for _, command in ipairs(pipe.commands) do
    self:charge(1)
    value = self:command(dot, command, value)
    if value == values.nil_any then value = none end
  end
  for _, name in ipairs(pipe.names) do
    if pipe.assigns then self.values[self:slot(name)] = value else self:push(name, value) end
  end
  return value
end

-- Each walk_… returns 'break' or 'continue' when that is to leave a loop around it.
local walk = {}

function Run:list(dot, list)
  for _, node in ipairs(list) do
    self:charge(1)
    self.node = node
    local jump = walk[node.kind](self, dot, node)
    if jump then return jump end
  end
end

function walk.text(run, _, node) run:write(node.text) end

function walk.action(run, dot, node)
  local v = run:pipeline(dot, node.pipe)
  if #node.pipe.names == 0 then run:write(run:bounded(builtins.printed(v))) end
end

walk['break'] = function() return 'break' end
walk.continue = function() return 'continue' end

local function branch(run, dot, inner, node, taken)
  if taken then return run:list(inner, node.list) end
  if node.otherwise then return run:list(dot, node.otherwise) end
end

walk['if'] = function(run, dot, node)
  local outer = run.top
  local jump = branch(run, dot, dot, node, is_true(run:pipeline(dot, node.pipe)))
  run.top = outer
  return jump
end

function walk.with(run, dot, node)
  local outer = run.top
  local v = run:pipeline(dot, node.pipe)
  local jump = branch(run, dot, v, node, is_true(v))
  run.top = outer
  return jump
end

-- The items of a list, the keys and values of a map in order, the numbers below an int.
local function iterate(v)
  local t = type_of(v)
  if t.kind == 'slice' then
    return #v.items, function(i) return i - 1, v.items[i] end
  elseif t.kind == 'map' then
    local keys = values.sorted_keys(v)
    return #keys, function(i) return keys[i], v.items[keys[i]] end
  elseif t.kind == 'int' then
    return v, function(i) return i - 1, i - 1 end
  elseif v == none then
    return 0
  end
  return nil
end

function walk.range(run, dot, node)
  local outer, pipe = run.top, node.pipe
  local v = run:pipeline(dot, pipe)
  local mark, names = run.top, pipe.names
  local n, item = iterate(v)
  if not n then run:fail("range can't iterate over " .. builtins.printed(v)) end
  local jump
  for i = 1, n do
    run:charge(1)
    local key, value = item(i)
    if #names > 0 then
      local last = pipe.assigns and run:slot(names[#names]) or mark
      run.values[last] = value
    end
    if #names > 1 then run.values[pipe.assigns and run:slot(names[1]) or mark - 1] = key end
    jump = run:list(value, node.list)
    run.top = mark
    if jump == 'break' then break end
  end
  jump = nil
  if n <= 0 and node.otherwise then jump = run:list(dot, node.otherwise) end
  run.top = outer
  return jump
end

function walk.template(run, dot, node)
  local tree = run.trees[node.name]
  if not tree then run:fail(('template %s not defined'):format(quote.quote(node.name))) end
  if run.depth == MAX_DEPTH then
    run:fail(('exceeded maximum template depth (%d)'):format(MAX_DEPTH))
  end
  local inner = node.pipe and run:pipeline(dot, node.pipe) or none
  local outer, names, vars, top = run.tree, run.names, run.values, run.top
  run.tree, run.names, run.values, run.top = tree, { '$' }, { inner }, 1
  run.depth = run.depth + 1
  run:list(inner, tree.root)
  run.depth = run.depth - 1
  run.tree, run.names, run.values, run.top = outer, names, vars, top
end

local M = {}

--- Expands the tree `name`.
---@param name string
---@param trees table<string, template.Tree>
---@param functions table<string, template.Function>
---@param data table  see template.Data
---@param patterns table
---@return string? text
---@return table? problem  message with node and tree, or limit
function M.expand(name, trees, functions, data, patterns)
  local root = {
    type = types.root,
    Labels = values.labels(data.labels),
    ExternalLabels = values.labels(data.external_labels),
    ExternalURL = data.external_url,
    Value = data.value * 1.0, -- not + 0.0: that loses the sign of -0
  }
  local run = setmetatable({
    data = data, functions = functions, trees = trees, patterns = patterns, tree = trees[name],
    names = { '$', '$labels', '$externalLabels', '$externalURL', '$value' },
    values = { root, root.Labels, root.ExternalLabels, root.ExternalURL, root.Value },
    top = 5, depth = 0, steps = MAX_STEPS, out = {}, size = 0,
  }, Run)
  local ok, problem = pcall(run.list, run, root, trees[name].root)
  if ok then return table.concat(run.out) end
  if type(problem) ~= 'table' then error(problem, 0) end
  return nil, problem
end

return M
