--- `perigee why`: the story of a plan or an incident, and what decided.
local cli = require 'command.cli'
local json = require 'perigee.json'

local SPEC = {
  usage = 'why PLAN|INCIDENT',
  summary = 'Tells why a plan, or the plans of an incident, came to what they came to.',
  details = 'The trigger with its values, the trust and who lowered it, each gate with what it\n'
    .. 'saw, decisions, actions, and the one thing that decided.',
  least = 1, most = 1,
  options = cli.REMOTE,
}

local POINTS = { { 'planning', 'when it was made' }, { 'start', 'when it was to start' },
  { 'between', 'before its next action' } }

local function line(mark, what, words)
  print(('    %s %-18s %s'):format(mark, what, cli.plain(words)))
end

local function show_trigger(trigger)
  if not trigger then return end
  print(('  trigger   %s {%s}%s'):format(cli.plain(trigger.trigger or ''),
    cli.plain(cli.labels_text(trigger.labels)),
    trigger.value and ' ' .. cli.plain(trigger.value) or ''))
  for _, a in ipairs(trigger.incident and trigger.incident.anomalies or {}) do
    line('-', a.signal, ('%s: %s'):format(a.value, a.reason or ''))
  end
end

local function show_trust(trust)
  print(('  trust     %s%s'):format(trust.to, trust.from and trust.from ~= trust.to
    and (', lowered from %s'):format(trust.from) or ''))
  for _, step in ipairs(trust.steps or {}) do
    line(step.lowered and '!' or '-', step.by, step.message)
  end
end

local function show_gates(gates)
  for _, point in ipairs(POINTS) do
    local at = gates[point[1]]
    if at then print(('  gates     %s, %s'):format(point[2], cli.time_text(at.at))) end
    for _, asked in ipairs(at and at.asked or {}) do
      line(asked.refused and '!' or '-', asked.gate, asked.message)
    end
  end
end

local function show_plan(p)
  print(('%s  %s  %s'):format(cli.colour('bold', p.id), p.state, cli.plain(p.playbook)))
  print(('  decided   %s: %s'):format(cli.colour('bold', cli.plain(p.decided.gate)),
    cli.plain(p.decided.message)))
  show_trigger(p.trigger)
  show_trust(p.trust)
  show_gates(p.gates)
  for _, d in ipairs(p.decisions) do
    print(('  %-9s by %s (%s) at %s%s'):format(d.decision, cli.plain(d.who), d.via,
      cli.time_text(d.at), d.reason and ': ' .. cli.plain(d.reason) or ''))
  end
  for i, action in ipairs(p.actions) do
    print(('  action %d  %s %s%s'):format(i, action.name, action.state, action.outcome
      and ': ' .. cli.plain(action.outcome.message or '') or ''))
  end
end

local function show_incident(incident)
  print(('%s  %s  %s {%s}'):format(cli.colour('bold', incident.id), incident.state,
    cli.plain(incident.name), cli.plain(cli.labels_text(incident.labels))))
  for _, a in ipairs(incident.anomalies) do
    line('-', a.signal, ('%s: %s'):format(a.value == json.null and '' or a.value, a.reason or ''))
  end
  for _, other in ipairs(incident.without_plan) do
    print(('  %s made no plan: %s: %s'):format(cli.plain(other.playbook),
      cli.plain(other.decided.gate), cli.plain(other.decided.message)))
  end
  for _, p in ipairs(incident.plans) do
    print()
    show_plan(p)
  end
end

return function(...)
  local values, status = cli.parse(SPEC, ...)
  if not values then return status end
  if not values[1]:match '^[%w%-]+$' then
    cli.error(('"%s" is no id of a plan or an incident'):format(cli.plain(values[1])))
    return cli.USAGE
  end
  local is_incident = values[1]:find '^inc%-' ~= nil
  local data, failed = cli.get(values, 'GET', ('/api/v1/%s/%s/why'):format(
    is_incident and 'incidents' or 'plans', values[1]))
  if not data then return failed end
  if values.json then cli.print_json(data)
  elseif is_incident then show_incident(data)
  else show_plan(data) end
  return cli.DONE
end
