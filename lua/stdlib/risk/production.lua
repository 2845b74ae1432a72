--- What production says of the services that a change touches: incidents that are open, and error
--- budgets that are nearly spent.
local cli = require 'command.cli'
local prometheus = require 'prometheus'

local production = {}

--- The services whose files are touched, sorted.
---@param settings table
---@param files risk.File[]
function production.services(settings, files)
  local names = {}
  for name, is_of in pairs(settings.services) do
    for _, f in ipairs(files) do
      if is_of(f.path) or f.old_path and is_of(f.old_path) then
        names[#names + 1] = name
        break
      end
    end
  end
  table.sort(names)
  return names
end

--- Points for the open incidents of services, by a running perigee.
---@param values table  of the command line: url, token-file
---@return table[]? found
---@return integer? status  to end with; what is wrong has been told
function production.incidents(settings, services, values)
  local out = {}
  local list, status = cli.get(values, 'GET', '/api/v1/incidents?limit=500')
  if not list then return nil, status end
  local touched = {}
  for _, name in ipairs(services) do touched[name] = true end
  for _, incident in ipairs(list) do
    local service = (incident.labels or {}).service
    if incident.state ~= 'resolved' and touched[service] then
      out[#out + 1] = { points = settings.incidents.weight,
        words = ('incident %s is %s at %s'):format(incident.name, incident.state, service) }
    end
  end
  return out
end

--- Points for error budgets that are nearly spent, by a Prometheus. "$service" in the query stands
--- for the name of each service.
---@param url string
---@return table[]? found
---@return string? message
function production.error_budgets(settings, services, url)
  local out, budget = {}, settings.error_budget
  local client = prometheus.client { url = url }
  for _, name in ipairs(services) do
    local vector, failure = client:query((budget.query:gsub('%$service', name)))
    if not vector then return nil, ('%s: %s'):format(url, failure.message) end
    for _, sample in ipairs(vector) do
      if sample.value < budget.below then
        out[#out + 1] = { points = budget.weight, words =
          ('%s has %.3g of its error budget left, less than %.3g'):format(name, sample.value,
          budget.below) }
        break
      end
    end
  end
  return out
end

return production
