--- A plan for a person, before and after it is decided about.
local check = require 'check'
local cli = require 'command.cli'
local json = require 'perigee.json'

local plan_view = {}

local function args_text(args)
  local parts = {}
  for _, name in ipairs(check.names(args)) do
    local v = args[name]
    parts[#parts + 1] = ('%s = %s'):format(name, type(v) == 'table' and json.encode(v)
      or cli.plain(v))
  end
  return table.concat(parts, ', ')
end

local function approvals_text(a)
  return ('%d of %d given%s'):format(a.given, a.needed,
    a.group and ', by members of ' .. cli.plain(a.group) or '')
end

--- What the action would do to its target, as the server's dry run said.
local function show_preview(preview)
  if not preview then return end
  print('     ' .. cli.plain(preview.summary))
  if preview.current or preview.proposed then
    print(('     %s → %s'):format(cli.plain(preview.current or '?'),
      cli.plain(preview.proposed or '?')))
  end
  for _, warning in ipairs(preview.warnings or {}) do
    print('     ' .. cli.colour('yellow', 'warning: ' .. cli.plain(warning)))
  end
  for line in (preview.diff or ''):gmatch '[^\n]+' do print('     | ' .. cli.plain(line)) end
end

--- Prints everything that an approval is about.
---@param p table  as the API gives it
function plan_view.show(p)
  print(('%s  %s  trust %s'):format(cli.colour('bold', p.id), p.state, p.trust))
  print(('  playbook  %s'):format(cli.plain(p.playbook)))
  if p.incident_id then print(('  incident  %s'):format(p.incident_id)) end
  print(('  digest    %s'):format(p.digest))
  if p.reason then print(('  reason    %s'):format(cli.plain(p.reason))) end
  if p.approvals then print('  approvals ' .. approvals_text(p.approvals)) end
  if p.state == 'pending' then print(('  expires   %s'):format(cli.time_text(p.expires_at))) end
  for i, action in ipairs(p.actions) do
    print(('  %d. %s { %s }'):format(i, action.name, args_text(action.args)))
    show_preview(action.preview)
    if action.outcome then
      print(('     %s: %s'):format(action.state, cli.plain(action.outcome.message or '')))
    end
  end
  for _, d in ipairs(p.decisions) do
    print(('  %s by %s (%s) at %s%s'):format(d.decision, cli.plain(d.who), d.via,
      cli.time_text(d.at), d.reason and ': ' .. cli.plain(d.reason) or ''))
  end
end

return plan_view
