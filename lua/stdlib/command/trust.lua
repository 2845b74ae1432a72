--- `perigee trust`: how far each playbook is trusted, and giving back what one has lost.
local cli = require 'command.cli'
local http = require 'http'

local SPEC = {
  usage = 'trust [restore PLAYBOOK]',
  summary = 'Shows how far each playbook is trusted, or gives one its trust back.',
  details = 'Restoring also closes its circuit breaker. It needs a token of an admin.',
  most = 2,
  options = cli.REMOTE,
}

local function row_of(t)
  return { t.playbook, t.declared, t.ceiling, t.effective, t.breaker, t.reason or '' }
end

local function restore(values)
  local data, failed = cli.get(values, 'POST', ('/api/v1/trust/%s/restore'):format(
    http.escape(values[2])), {})
  if not data then return failed end
  if values.json then cli.print_json(data)
  else print(('%s: trust is %s'):format(cli.plain(data.playbook), data.effective)) end
  return cli.DONE
end

return function(...)
  local values, status = cli.parse(SPEC, ...)
  if not values then return status end
  if #values == 2 and values[1] == 'restore' then return restore(values) end
  if #values > 0 then
    cli.error 'expected nothing, or "restore PLAYBOOK"'
    return cli.USAGE
  end
  local data, failed = cli.get(values, 'GET', '/api/v1/trust')
  if not data then return failed end
  if values.json then
    cli.print_json(data)
    return cli.DONE
  end
  local rows = {}
  for i, t in ipairs(data) do rows[i] = row_of(t) end
  cli.table({ 'PLAYBOOK', 'DECLARED', 'CEILING', 'TRUST', 'BREAKER', 'WHY' }, rows)
  return cli.DONE
end
