--- `perigee kill`: throws the kill switch of a running perigee, or takes it back.
local cli = require 'command.cli'

local SPEC = {
  usage = 'kill on|off',
  summary = 'Throws the kill switch, or takes it back.',
  details = 'While it is on nothing is acted upon, not even the next step of a running plan.\n'
    .. 'Exit status 1: it stays on, for the configuration says so.',
  least = 1, most = 1,
  options = cli.REMOTE,
}

return function(...)
  local values, status = cli.parse(SPEC, ...)
  if not values then return status end
  if values[1] ~= 'on' and values[1] ~= 'off' then
    cli.error(('expected "on" or "off", not "%s"'):format(cli.plain(values[1])))
    return cli.USAGE
  end
  local wanted = values[1] == 'on'
  local data, failed = cli.get(values, 'POST', '/api/v1/kill_switch', { on = wanted })
  if not data then return failed end
  if values.json then cli.print_json(data)
  elseif data.on then print('the kill switch is on: ' .. data.reason)
  else print 'the kill switch is off' end
  return data.on == wanted and cli.DONE or cli.NOT_AS_IT_SHOULD_BE
end
