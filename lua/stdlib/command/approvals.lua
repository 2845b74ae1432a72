--- `perigee approvals`: plans that wait for a decision.
local cli = require 'command.cli'
local plan_view = require 'command.plan_view'

local SPEC = {
  usage = 'approvals',
  summary = 'Lists the plans that wait for a decision, with what each would do.',
  options = cli.REMOTE,
}

return function(...)
  local values, status = cli.parse(SPEC, ...)
  if not values then return status end
  local data, failed = cli.get(values, 'GET', '/api/v1/approvals')
  if not data then return failed end
  if values.json then
    cli.print_json(data)
    return cli.DONE
  end
  if #data == 0 then print 'no plan waits for a decision' end
  for _, p in ipairs(data) do plan_view.show(p) end
  return cli.DONE
end
