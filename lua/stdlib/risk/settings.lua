--- What counts as risk: the defaults, and what a repository's own risk.lua or risk.yaml says. It is
--- read as it was where the change branched off, so that no change can make itself harmless; a
--- risk.lua runs in a cell, as rule files do.
local check = require 'check'
local file = require 'perigee.file'
local git = require 'risk.git'
local regex = require 'perigee.regex'
local rules = require 'perigee.rules'
local where = require 'rules.where'
local yaml = require 'yaml'

local settings = {}

settings.NAMES = { 'risk.lua', 'risk.yaml', 'risk.yml', '.github/risk.lua', '.github/risk.yaml',
  '.github/risk.yml' }

local LOADING = { instructions = 1000000, allocated = 32 << 20 }
local MOST_BYTES <const> = 64 << 10
local TOO_LARGE = ('larger than %d KiB'):format(MOST_BYTES >> 10)

local MOST_WORDS = 1000 -- bytes of a recommendation

--- A regular expression that is looked for anywhere; the value becomes a function of a text. One
--- that takes too long on a text has found it: nobody makes a file harmless by what it is called.
local pattern = { test = function(v)
  if type(v) ~= 'string' or v == '' then
    return check.expected('a regular expression such as "^terraform/"', v)
  end
  local compiled, message = regex.compile(v)
  if not compiled then return message end
  return nil, function(text) return compiled:match(text) ~= false end
end }

local weight = check.required(check.number(nil, { min = 0, max = 1000 }))
local days = function(default) return check.number(default, { above = 0, max = 36500 }) end

local recommendation = { test = function(v)
  if type(v) ~= 'string' or #v > MOST_WORDS then
    return check.expected(('a text of at most %d bytes'):format(MOST_WORDS), v)
  end
end }

local NAME = '^[%w_%-]+$'

settings.SPEC = {
  categories = check.map_of(check.table_of { pattern = check.required(pattern), weight = weight },
    NAME, {}),
  levels = check.table_of({ high = check.number(10, { min = 0 }),
    medium = check.number(5, { min = 0 }) }, { high = 10, medium = 5 }),
  recommendations = check.table_of({ high = recommendation,
    medium = recommendation, low = recommendation }, {}),
  size = check.table_of { lines = check.number(500, { min = 1, integer = true }),
    weight = weight },
  age = check.table_of { days = days(365), weight = weight },
  ownership = check.table_of { weight = weight },
  repairs = check.table_of {
    pattern = { default = select(2, pattern.test '(?i)^(revert|hotfix|rollback)'),
      test = pattern.test },
    days = days(180), weight = weight },
  services = check.map_of(pattern, NAME, {}),
  incidents = check.table_of { weight = weight },
  error_budget = check.table_of { query = check.required(check.string()),
    below = check.number(0.1), weight = weight },
}

-- The categories that there always are, unless a repository gives them another meaning.
local CATEGORIES = {
  infrastructure = { pattern = select(2, pattern.test 'terraform|k8s|helm'), weight = 3 },
  database = { pattern = select(2, pattern.test 'migration|schema'), weight = 5 },
}

local RECOMMENDATIONS = {
  high = 'Consider staged rollout with canary deployment',
  medium = 'Enable enhanced monitoring during deployment',
  low = 'Standard deployment approved',
}

local function complete(values)
  for name, category in pairs(CATEGORIES) do
    values.categories[name] = values.categories[name] or category
  end
  for level, words in pairs(RECOMMENDATIONS) do
    values.recommendations[level] = values.recommendations[level] or words
  end
  return values
end

--- What holds where a repository says nothing.
function settings.defaults() return complete((check.apply({}, settings.SPEC))) end

-- -- reading --------------------------------------------------------------------------------------

local function problem(path, line, column, message)
  return { file = path, line = line, column = column, message = message }
end

--- The body of the only declaration of a risk.lua, and where its fields are.
local function run_lua(path, source)
  local cell, message = rules.cell(path)
  if not cell then return nil, { problem(path, 1, nil, message) } end
  local declared, fault = cell:run(source, LOADING)
  cell:close()
  if fault then return nil, { problem(path, fault.line, nil, fault.message) } end
  local found
  for _, declaration in ipairs(declared.declarations) do
    if declaration.kind ~= 'risk' then
      return nil, { problem(path, declaration.line, nil,
        ('%s "%s" has no place here; %s declares risk "name" { … }'):format(declaration.kind,
        declaration.name, path)) }
    elseif found then
      return nil, { problem(path, declaration.line, nil, 'risk is declared twice') }
    end
    found = declaration
  end
  if not found then
    return nil, { problem(path, 1, nil, 'expected a declaration: risk "name" { … }') }
  end
  return found.body, function(field)
    local place = where.field(source, found.line, field)
    return place.line, place.column
  end
end

local function read_yaml(path, source)
  local root, places = yaml.decode(source)
  if root == nil and places.message then
    return nil, { problem(path, places.line, places.column, places.message) }
  end
  root = root or {}
  if type(root) ~= 'table' then
    return nil, { problem(path, 1, 1, check.expected('keys and values', root)) }
  end
  return root, function(field)
    return table.unpack((yaml.place(root, places, field)))
  end
end

--- The settings of one file, or nil and everything that is wrong with it.
---@param path string    its name
---@param source string  its text
---@return table? values
---@return { file: string, line: integer, column?: integer, message: string }[]? problems
function settings.parse(path, source)
  if #source > MOST_BYTES then return nil, { problem(path, 1, nil, TOO_LARGE) } end
  local body, place = (path:find '%.lua$' and run_lua or read_yaml)(path, source)
  if not body then return nil, place end
  local values, wrong = check.apply(body, settings.SPEC)
  local problems = {}
  for i, p in ipairs(wrong) do
    local line, column = place(p.path)
    problems[i] = problem(path, line, column, check.words(p))
  end
  if #problems > 0 then return nil, problems end
  return complete(values)
end

--- The text of what ls-tree tells of, if it is a file of a size to be read.
local function read_entry(folder, mode, sha, size)
  if not mode:find '^100' then return nil, 'expected a file, no link, folder or submodule' end
  if (tonumber(size) or math.huge) > MOST_BYTES then return nil, TOO_LARGE end
  return git.ask(folder, 'cat-file', 'blob', sha)
end

--- The settings of a repository as they were at a commit.
---@param folder string
---@param commit string
---@return table? values
---@return { file: string, line: integer, column?: integer, message: string }[]|string wrong  or
---       the name of the file that was read; "" where there is none
function settings.at(folder, commit)
  local entries, message = git.ask(folder, 'ls-tree', '-z', '-l', '--full-tree', commit, '--',
    table.unpack(settings.NAMES))
  if not entries then return nil, { problem('git', 0, nil, message) } end
  local found, source
  for mode, sha, size, name in entries:gmatch '(%d+) %l+ (%x+) +(%S+)\t([^%z]+)' do
    if found then
      return nil, { problem(name, 1, nil, ('%s is there, too; keep one of them'):format(found)) }
    end
    found = name
    source, message = read_entry(folder, mode, sha, size)
  end
  if not found then return settings.defaults(), '' end
  if not source then return nil, { problem(found, 0, nil, message) } end
  local values, problems = settings.parse(found, source)
  if not values then return nil, problems end
  return values, found
end

--- The settings of a file that the caller names.
function settings.file(path)
  local source, message = file.read(path, MOST_BYTES)
  if not source then return nil, { problem(path, 0, nil, message) } end
  local values, problems = settings.parse(path, source)
  if not values then return nil, problems end
  return values, path
end

return settings
