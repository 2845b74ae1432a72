--- `perigee incidents`: lists incidents, or acknowledges one.
local cli = require 'command.cli'

local function show(list)
  local rows = {}
  for i, incident in ipairs(list) do
    local odd = 0
    for _, a in ipairs(incident.anomalies) do odd = odd + (a.is_anomaly and 1 or 0) end
    rows[i] = { incident.id, incident.state, incident.name, cli.labels_text(incident.labels),
      cli.time_text(incident.opened_at),
      ('%d of %d'):format(odd, incident.anomaly_count), incident.recommendation }
  end
  if #rows == 0 then return print 'no incidents' end
  cli.table({ 'ID', 'STATE', 'NAME', 'LABELS', 'OPENED', 'ODD NOW', 'RECOMMENDATION' }, rows)
end

local function acknowledge(values)
  if values[1] ~= 'ack' or not (values[2] or ''):find '^[%w%-]+$' then
    cli.error 'expected "perigee incidents ack ID"'
    return cli.USAGE
  end
  local path = ('/api/v1/incidents/%s/acknowledge'):format(values[2])
  local data, failed = cli.get(values, 'POST', path)
  if not data then return failed end
  if values.json then cli.print_json(data) else show { data } end
  return cli.DONE
end

local STATES = { open = true, acknowledged = true, mitigating = true, resolved = true }

local SPEC = {
  usage = 'incidents [ack ID]',
  summary = 'Lists incidents, newest first, or acknowledges one.',
  most = 2,
  options = cli.options({
    { name = 'state', value = 'STATE', help = 'only open, acknowledged, mitigating or resolved' },
  }, cli.REMOTE),
}

return function(...)
  local values, status = cli.parse(SPEC, ...)
  if not values then return status end
  if values[1] then return acknowledge(values) end
  if values.state and not STATES[values.state] then
    cli.error(('--state: expected open, acknowledged, mitigating or resolved, not "%s"'):format(
      cli.plain(values.state)))
    return cli.USAGE
  end
  local data, failed = cli.get(values, 'GET',
    '/api/v1/incidents' .. (values.state and '?state=' .. values.state or ''))
  if not data then return failed end
  if values.json then cli.print_json(data) else show(data) end
  return cli.DONE
end
