--- `perigee reload`: has a running perigee read its files anew.
local cli = require 'command.cli'

local SPEC = {
  usage = 'reload',
  summary = 'Has a running perigee read its files anew: all of them, or on any error nothing.',
  details = "Needs lifecycle: true, or an admin's token.",
  options = cli.REMOTE,
}

return function(...)
  local values, status = cli.parse(SPEC, ...)
  if not values then return status end
  local answer, message, failed = cli.ask(values, 'POST', '/-/reload')
  if not answer then
    cli.error(message)
    return failed
  end
  local ok = answer.status == 200
  if values.json then cli.print_json { ok = ok, status = answer.status, message = answer.error } end
  if ok then
    if not values.json then print(answer.error) end
    return cli.DONE
  end
  if not values.json then io.stderr:write(answer.error or 'refused', '\n') end
  return answer.status == 500 and cli.NOT_AS_IT_SHOULD_BE or cli.OUTSIDE
end
