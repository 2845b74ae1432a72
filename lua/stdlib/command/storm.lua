--- `perigee storm`: whether one has stopped all automation, and ending it.
local cli = require 'command.cli'

local SPEC = {
  usage = 'storm [end]',
  summary = 'Tells whether a storm of incidents has stopped all automation, or ends it.',
  details = 'Exit status 1: there is a storm. Ending one needs a token of an admin.',
  most = 1,
  options = cli.REMOTE,
}

return function(...)
  local values, status = cli.parse(SPEC, ...)
  if not values then return status end
  if values[1] and values[1] ~= 'end' then
    cli.error(('expected nothing, or "end", not "%s"'):format(cli.plain(values[1])))
    return cli.USAGE
  end
  local data, failed
  if values[1] then data, failed = cli.get(values, 'POST', '/api/v1/storm/end', {})
  else data, failed = cli.get(values, 'GET', '/api/v1/storm') end
  if not data then return failed end
  if values.json then cli.print_json(data)
  elseif data.on then
    print(('a storm has stopped all automation since %s: %s'):format(cli.time_text(data.since),
      cli.plain(data.reason)))
  else print('there is no storm: ' .. cli.plain(data.reason)) end
  return data.on and cli.NOT_AS_IT_SHOULD_BE or cli.DONE
end
