--- Prometheus' annotation templates: Go's text/template with the functions Prometheus adds.
---
--- What a template means, and what is said of a wrong one, follows Prometheus 2.42 (Go 1.19) to the
--- letter; from later versions come `else with`, `range` over a number, urlQueryEscape, toDuration
--- and now. Methods of Go's types do not exist. Expanding is bounded: 100,000 steps, 64 KiB of
--- text, templates 500 deep, regular expressions that cannot run away.
---
---     local t = template.compile('{{ $labels.app }} burns {{ humanizePercentage $value }}')
---     local text, message = t:expand { labels = labels, value = 0.42 }
local builtins = require 'template.builtins'
local functions = require 'template.functions'
local parse = require 'template.parse'
local quote = require 'template.quote'
local run = require 'template.run'

local M = {}

M.MAX_LENGTH = 65536 -- bytes of a template

---@class template.Options
---@field name? string  for messages; "__alert_NAME" is what Prometheus has for an alert's

---@class template.Problem
---@field message string  as Go words it
---@field line integer    in the template, from 1
---@field column integer  in bytes, from 1

---@class template.Sample
---@field Labels table<string, string>
---@field Value number

---@class template.Data
---@field labels table<string, string>  of the sample: $labels
---@field value number                  $value
---@field external_labels? table<string, string>
---@field external_url? string
---@field time? number                  of the evaluation, in Unix seconds
---@field query? fun(expr: string): template.Sample[]?, string?  may wait

local known = {}
for name, f in pairs(builtins.functions) do known[name] = f end
for name, f in pairs(functions) do known[name] = f end

local VARIABLES = { '$labels', '$externalLabels', '$externalURL', '$value' }

local function no_query() return nil, 'there is nothing to query' end

---@class template.Compiled
---@field private name string
---@field private text string
---@field private trees table<string, template.Tree>
---@field private patterns table
local Compiled = {}
Compiled.__index = Compiled

-- As Prometheus words it; Go counts columns from 0.
local function say(self, problem)
  local shown = ('error executing template %s: template: %s'):format(self.name, self.name)
  if problem.limit then return ('%s: %s'):format(shown, problem.limit) end
  local node = problem.node
  local line, column = parse.position(self.text, node.pos)
  return ('%s:%d:%d: executing %s at <%s>: %s'):format(shown, line, column - 1,
    quote.quote(problem.tree.name), parse.source(node), problem.message)
end

--- Expands the template. Never raises for what is in the data's texts.
---@param data template.Data
---@return string? text
---@return string? message  "error executing template NAME: template: NAME:LINE:COLUMN: …"
function Compiled:expand(data)
  local text, problem = run.expand(self.name, self.trees, known, {
    labels = data.labels,
    value = data.value,
    external_labels = data.external_labels or {},
    external_url = data.external_url or '',
    time = data.time or 0,
    query = data.query or no_query,
  }, self.patterns)
  if text then return text end
  return nil, say(self, problem)
end

--- Reads a template. Unknown functions and undefined variables are found here.
---@param text string
---@param options? template.Options
---@return template.Compiled? compiled
---@return template.Problem? problem
function M.compile(text, options)
  local name = options and options.name or 'template'
  if #text > M.MAX_LENGTH then
    local message = ('the template is longer than %d bytes'):format(M.MAX_LENGTH)
    return nil, { message = message, line = 1, column = 1 }
  end
  local trees, problem = parse.parse(name, text, known, VARIABLES)
  if not trees then return nil, problem end
  local patterns = { compiled = {}, n = 0 }
  return setmetatable({ name = name, text = text, trees = trees, patterns = patterns }, Compiled)
end

return M
