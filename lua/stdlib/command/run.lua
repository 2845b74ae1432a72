--- `perigee run`: the service.
local cli = require 'command.cli'
local daemon = require 'perigee.daemon'

local SPEC = {
  usage = 'run [-c CONFIG]',
  summary = 'Serves until SIGTERM.',
  details = 'SIGHUP reads configuration and rules anew; SIGUSR1 throws the kill switch.',
  options = { cli.CONFIG },
}

return function(...)
  local values, status = cli.parse(SPEC, ...)
  if not values then return status end
  local problems
  status, problems = daemon.run(values.config or 'perigee.yaml')
  if not status then
    cli.error(problems)
    return cli.OUTSIDE
  end
  for _, line in ipairs(problems) do io.stderr:write(line, '\n') end
  return status
end
