--- Holds what the Kubernetes fake has stored to the published description of the API, by ajv.
local file = require 'perigee.file'
local json = require 'json'
local node = require 'fakes.node'

local judge = {}

judge.DESCRIPTION = '../shared/reference/openapi/kubernetes-v1.32.json'

--- Whether the description is there: it is no part of this repository.
function judge.can() return file.read(judge.DESCRIPTION, 4 << 20) ~= nil end

--- What is wrong with any version of any object stored so far.
---@param fake fakes.Kubernetes
---@return string[] problems
---@return table<string, integer> counts  versions that were held to a schema, by kind
function judge.problems(fake)
  local lines = {}
  for i, change in ipairs(fake.store.changes) do lines[i] = json.encode(change.object) end
  local out = node.run { 'kubernetes_schema.js', '../../' .. judge.DESCRIPTION,
    input = table.concat(lines, '\n') }
  local problems = {}
  for line in out:gmatch '[^\n]+' do problems[#problems + 1] = line end
  return problems, json.decode(table.remove(problems))
end

return judge
