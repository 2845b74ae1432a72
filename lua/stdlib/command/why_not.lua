--- `perigee why-not`: why a playbook does nothing now.
local cli = require 'command.cli'
local http = require 'http'

local SPEC = {
  usage = 'why-not PLAYBOOK',
  summary = 'Tells why a playbook does nothing now, and the one thing that decides.',
  details = 'Its trigger with the present values, its trust, its last plan, and what each gate '
    .. 'would say.',
  least = 1, most = 1,
  options = cli.REMOTE,
}

local function show(data)
  print(('%s  %s:%d'):format(cli.colour('bold', cli.plain(data.playbook)), cli.plain(data.file),
    data.line))
  print(('  decides   %s: %s'):format(cli.colour('bold', cli.plain(data.decided.gate)),
    cli.plain(data.decided.message)))
  print(('  trigger   %s: %s'):format(data.trigger.kind, cli.plain(data.trigger.message)))
  print(('  trust     %s%s'):format(data.trust.effective,
    data.trust.reason and ': ' .. cli.plain(data.trust.reason) or ''))
  local last = data.last_plan
  print(('  last plan %s'):format(last and ('%s %s, %s%s'):format(last.id, last.state,
    cli.time_text(last.created_at), last.reason and ': ' .. cli.plain(last.reason) or '')
    or 'none'))
  print '  gates     now'
  for _, asked in ipairs(data.gates) do
    print(('    %s %-18s %s'):format(asked.refused and '!' or '-', asked.gate,
      cli.plain(asked.message)))
  end
end

return function(...)
  local values, status = cli.parse(SPEC, ...)
  if not values then return status end
  local data, failed = cli.get(values, 'GET', ('/api/v1/playbooks/%s/why_not'):format(
    http.escape(values[1])))
  if not data then return failed end
  if values.json then cli.print_json(data) else show(data) end
  return cli.DONE
end
