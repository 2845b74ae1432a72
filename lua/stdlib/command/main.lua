--- The first thing that runs: finds the command named on the command line and runs it.
local COMMANDS = {
  { 'run', 'serves: watches, judges, converges, acts' },
  { 'check', 'checks configuration and rule files' },
  { 'reload', 'has a running perigee read its files anew' },
  { 'status', 'tells how a running perigee is' },
  { 'incidents', 'lists incidents, or acknowledges one' },
  { 'approvals', 'lists plans that wait for a decision' },
  { 'approve', 'approves a plan' },
  { 'reject', 'rejects a plan' },
  { 'why', 'tells why a plan or an incident came to what it came to' },
  { 'why-not', 'tells why a playbook does nothing' },
  { 'trust', 'shows how far playbooks are trusted, or gives trust back' },
  { 'storm', 'tells whether a storm has stopped all automation, or ends it' },
  { 'kill', 'throws the kill switch, or takes it back' },
  { 'audit', 'shows the audit trail, or proves it whole' },
  { 'detect', 'learns what is normal in series, and tells what is not' },
  { 'forecast', 'tells when a series meets a threshold' },
  { 'train', 'learns to predict failures' },
  { 'predict', 'tells how likely a failure is, and why' },
  { 'risk', 'tells how risky a change is, for the pipeline that deploys it' },
  { 'lua', 'runs a Lua script with every module' },
  { 'demo', 'shows it all, on a real Prometheus and a small shop' },
  { 'version', 'prints the version' },
}

local function help(out)
  out:write [[
Usage: perigee COMMAND [OPTION…]

Watches a service, learns what is normal, and acts as far as it is trusted.

Commands:
]]
  for _, c in ipairs(COMMANDS) do out:write(('  %-12s %s\n'):format(c[1], c[2])) end
  out:write '\n"perigee COMMAND --help" tells more.\n'
end

local function names()
  local out = {}
  for i, c in ipairs(COMMANDS) do out[i] = c[1] end
  return out
end

local function run(name, ...)
  if name == '--version' or name == '-V' then name = 'version' end
  if name == '--help' or name == '-h' or name == 'help' and ... == nil then
    help(io.stdout)
    return 0
  end
  if name == 'help' then return run(..., '--help') end
  if name == nil then
    help(io.stderr)
    return 2
  end
  for _, c in ipairs(COMMANDS) do
    if c[1] == name then return require('command.' .. name:gsub('-', '_'))(...) end
  end
  io.stderr:write('perigee: ', require('check').unknown('command', name, names()), '\n')
  return 2
end

local EPIPE <const> = 32 -- who reads has enough

return function(...)
  local status = run(...)
  local ok, message, code = io.stdout:flush()
  if ok or code == EPIPE then return status end
  io.stderr:write('perigee: standard output: ', message, '\n')
  return status == 0 and 3 or status
end
