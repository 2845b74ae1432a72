--- `perigee status`: how a running perigee is.
local cli = require 'command.cli'

local SPEC = {
  usage = 'status',
  summary = 'Tells how a running perigee is, and its signals.',
  options = cli.REMOTE,
}

return function(...)
  local values, status = cli.parse(SPEC, ...)
  if not values then return status end
  local data, failed = cli.get(values, 'GET', '/api/v1/status')
  if not data then return failed end
  local signals
  signals, failed = cli.get(values, 'GET', '/api/v1/signals')
  if not signals then return failed end
  if values.json then
    data.signals_list = signals
    cli.print_json(data)
    return cli.DONE
  end
  local lines = {
    { 'version', data.version }, { 'started', cli.time_text(data.started_at) },
      { 'rules loaded', cli.time_text(data.rules_loaded_at) },
    { 'last reload', data.last_reload.outcome }, { 'source', data.source },
    { 'dry run', data.dry_run and 'on: actions are only told of' or 'off' },
    { 'kill switch', data.kill_switch and 'on: ' .. data.kill_switch or 'off' },
    { 'rules', ('%s in %d files'):format(cli.counts_text { signals = data.signals,
    incidents = data.incidents_declared, playbooks = data.playbooks, forecasts = data.forecasts,
    predictions = data.predictions, groups = data.rule_groups }, data.rule_files) },
    { 'now', ('%d active incidents, %d plans waiting for a decision'):format(data.incidents_active,
    data.approvals_pending) },
  }
  if data.rule_groups > 0 then
    table.insert(lines, { 'alerts', ('%d fire, %d are pending'):format(data.alerts.firing,
      data.alerts.pending) })
  end
  for _, line in ipairs(lines) do print(('%-13s %s'):format(line[1], cli.plain(line[2]))) end
  if data.storm then
    print(cli.colour('red', 'storm         all automation is stopped: ' .. cli.plain(data.storm)))
  end
  for _, rule in ipairs(data.rules_failing) do
    print(cli.colour('red', ('failing       %s of group %s: %s'):format(cli.plain(rule.rule),
      cli.plain(rule.group), cli.plain(rule.reason))))
  end
  for _, off in ipairs(data.switched_off) do
    print(cli.colour('red', ('switched off  %s: %s'):format(off.rule, cli.plain(off.reason))))
  end
  print()
  local rows = {}
  for i, s in ipairs(signals) do
    rows[i] = { s.name, s.state, s.condition, tostring(#s.series), s.error or '' }
  end
  cli.table({ 'SIGNAL', 'STATE', 'CONDITION', 'SERIES', 'ERROR' }, rows)
  return cli.DONE
end
