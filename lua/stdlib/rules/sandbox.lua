--- Runs first in every cell and decides what a rule file can see: the bounded libraries that are
--- there already, the words of rules/vocabulary.lua, print, and a `require` for the rules folder
--- and the pure parts of the standard library. Given the host's few functions; returns what runs
--- the file, the table of its functions, which the engine calls by number, and what it has
--- declared.
local host = ...

local here, file_of, stdlib, c_module, compile = host.here, host.file, host.stdlib, host.c_module,
  host.compile
local error, type, next, setmetatable, tostring, utf8_length = error, type, next, setmetatable,
  tostring, utf8.len

-- The standard library beneath has globals of its own: what a rule does to its own is no concern of
-- it.
local beneath = {}
for name, value in next, _G do beneath[name] = value end

local vocabulary = stdlib('rules.vocabulary', beneath)()
local functions, declared = {}, { declarations = {}, files = {} }
local bare = {} -- the words that build data, and their names
local unfinished = {} -- references that no declaration has used yet, and the files they are in

-- -- values ---------------------------------------------------------------------------------------

local MAX_DEPTH = 12

local function check_text(text, path)
  if type(text) == 'string' and not utf8_length(text) then error(path .. ' is not UTF-8', 0) end
end

--- A copy that can leave the cell: functions become numbers, everything else must be plain.
local function pack(value, path, depth)
  local t = type(value)
  check_text(value, path)
  if bare[value] then
    error(('%s is %s without its table: %s { … }'):format(path, bare[value], bare[value]), 0)
  end
  if t == 'function' then
    functions[#functions + 1] = value
    return { kind = 'function', id = #functions }
  end
  if t ~= 'table' then return value end
  if unfinished[value] then unfinished[value] = nil end
  if depth > MAX_DEPTH then error(path .. ' is nested too deep, or in a circle', 0) end
  local copy = {}
  for k, v in next, value do
    if type(k) ~= 'string' and type(k) ~= 'number' then
      error(('%s has a key that is a %s; expected a name'):format(path, type(k)), 0)
    end
    check_text(k, path)
    copy[k] = pack(v, path .. '.' .. tostring(k), depth + 1)
  end
  return copy
end

-- -- the words ------------------------------------------------------------------------------------

local words = {}
local require_stdlib

local function article(word) return (word:find('^[aeiou]') and 'an ' or 'a ') .. word end

local MAX_NAME = 200 -- bytes: names are keys of the store and labels of metrics

local function check_name(kind, name, body)
  if type(name) ~= 'string' or name == '' or body ~= nil then
    error(('%s takes a name in quotes and then a table: %s "name" { … }'):format(kind, kind), 3)
  elseif #name > MAX_NAME or name:find('%c') or not utf8_length(name) then
    error(('the name of %s is one line of UTF-8, of at most %d bytes'):format(article(kind),
      MAX_NAME), 3)
  end
end

--- `signal "name" { … }`; without the table it is a reference to what is declared elsewhere.
local function declaration(kind)
  return function(name, ...)
    check_name(kind, name, ...)
    local line, file = here(2)
    local reference = { kind = 'reference', to = kind, name = name, line = line }
    unfinished[reference] = file
    return setmetatable(reference, { __call = function(_, body)
      if type(body) ~= 'table' then
        error(('%s "%s" takes a table { … }, not %s'):format(kind, name, article(type(body))), 2)
      end
      unfinished[reference] = nil
      local declarations = declared.declarations
      declarations[#declarations + 1] = { kind = kind, name = name, line = line, file = file,
        body = pack(body, ('%s "%s"'):format(kind, name), 0) }
    end })
  end
end

--- `z_score { … }` and its like: data that says what to build.
local function constructor(kind, name)
  local function build(options)
    local line = here(2)
    return { kind = kind, name = name, options = options, line = line }
  end
  bare[build] = name
  return build
end

--- `alert "Name" { … }`; the table may be missing.
local function named(name)
  local function build(what)
    local trigger = { kind = 'trigger', name = name, options = { name = what }, line = here(2) }
    return setmetatable(trigger, { __call = function(_, labels)
      return { kind = 'trigger', name = name, options = { name = what, labels = labels },
        line = here(2) }
    end })
  end
  bare[build] = name
  return build
end

--- `trust.policy(function(plan, incident) … end)`: named by where it stands.
local function policy(decide, ...)
  if type(decide) ~= 'function' or select('#', ...) > 0 then
    error('trust.policy takes one function: trust.policy(function(plan, incident) … end)', 2)
  end
  local line, file = here(2)
  local declarations = declared.declarations
  declarations[#declarations + 1] = { kind = 'policy', line = line, file = file,
    name = ('%s:%d'):format(file:match '[^/]*$', line),
    body = pack({ decide = decide }, 'trust.policy', 0) }
end

local function define(path, value)
  local group, name = path:match('^(.-)%.(.+)$')
  if not group then
    words[path] = value
  else
    words[group] = words[group] or setmetatable({}, { __index = function(_, other)
      local check = require_stdlib 'check'
      local known = {}
      for _, list in next, { vocabulary.actions, vocabulary.policies } do
        for _, word in next, list do known[#known + 1] = word end
      end
      error(check.unknown('name', ('%s.%s'):format(group, tostring(other)), known), 2)
    end })
    words[group][name] = value
  end
end

for _, kind in next, vocabulary.declarations do define(kind, declaration(kind)) end
for _, name in next, vocabulary.detectors do define(name, constructor('detector', name)) end
for _, name in next, vocabulary.actions do define(name, constructor('action', name)) end
for _, name in next, vocabulary.triggers do define(name, constructor('trigger', name)) end
for _, name in next, vocabulary.named_triggers do define(name, named(name)) end
for _, name in next, vocabulary.policies do define(name, policy) end

-- -- require --------------------------------------------------------------------------------------

local loaded, LOADING = {}, {}
local allowed = {}
for _, name in next, vocabulary.modules do allowed[name] = true end

local REFUSED = { http = true, prometheus = true, alertmanager = true, io = true, os = true,
  debug = true, coroutine = true, package = true, load = true, loadfile = true, dofile = true,
  async = true, json = true, yaml = true, slack = true, kubernetes = true }

-- What Lua says of the mistakes that are made most, and what was meant.
local HINTS = { -- the first that fits
  { "near 'for'$", "Prometheus' `for` is hold_for here" },
  { "'}' expected near '='$", 'the name of an option stands without quotes' },
  { "'}' expected.- near '", 'is a comma missing before it?' },
  { 'malformed number', 'a duration is a text: "7d"' },
}

local function explained(message)
  for _, hint in next, HINTS do
    if message:find(hint[1]) then return ('%s; %s'):format(message, hint[2]) end
  end
  return message
end

local function run_module(name, chunk)
  loaded[name] = LOADING
  local result = chunk(name)
  loaded[name] = result == nil and true or result
  return loaded[name]
end

--- What the standard library itself requires, in a cell: also the pure C modules.
function require_stdlib(name)
  if loaded[name] == nil then
    local chunk = stdlib(name, beneath)
    loaded[name] = chunk and run_module(name, chunk) or c_module(name)
    if loaded[name] == nil then error(('module "%s" is not for rule files'):format(name), 2) end
  end
  return loaded[name]
end
beneath.require = require_stdlib

--- What a rule file may require.
function words.require(name)
  if type(name) ~= 'string' then error('require takes the name of a module', 2) end
  if allowed[name] then return require_stdlib(name) end
  if REFUSED[name] or name:find('^perigee%.') then
    error(('rule files cannot require "%s": they only declare, and the runtime acts'):format(name),
      2)
  end
  if loaded[name] == LOADING then
    error(('"%s" requires itself, perhaps by way of others'):format(name), 2)
  end
  if loaded[name] ~= nil then return loaded[name] end
  local source, path, digest = file_of(name)
  if not source then error(('cannot require "%s": %s'):format(name, path), 2) end
  declared.files[path] = digest
  local chunk, message = compile(source, path)
  if not chunk then error(explained(message), 0) end
  return run_module(name, chunk)
end
words.print = host.print

-- -- the globals ----------------------------------------------------------------------------------

local G = _G
for name, value in next, words do G[name] = value end

local function known_names()
  local names = {}
  for name in next, G do
    if type(name) == 'string' then names[#names + 1] = name end
  end
  return names
end

setmetatable(G, {
  __index = function(_, name)
    if REFUSED[name] then
      error(('rule files have no "%s": they only declare, and the runtime acts'):format(name), 2)
    end
    local check = require_stdlib 'check'
    error(check.unknown('name', tostring(name), known_names()), 2)
  end,
})

-- -- running the file -----------------------------------------------------------------------------

local function run(source, name)
  local chunk, message = compile(source, name)
  if not chunk then error(explained(message), 0) end
  chunk()
  local first
  for reference in next, unfinished do
    if not first or reference.line < first.line then first = reference end
  end
  if first then
    error(('%s:%d: %s "%s" is only named: a table { … } must follow to declare it'):format(
      unfinished[first], first.line, first.to, first.name), 0)
  end
end

return run, functions, declared
