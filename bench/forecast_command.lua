--- The whole forecast command on thirty days of hourly samples, from the start of the process to
--- its end, and what it holds of memory; `perigee version` beside it is what any start costs.
local clock = require 'perigee.clock'
local lib = require 'lib'
local process = require 'perigee.process'

local folder <const>, _gone <close> = lib.folder()
local path = folder .. '/disk.csv'

local lines = { 'ts,value' }
for i = 0, 719 do
  lines[#lines + 1] = ('%d,%.0f'):format(1767225600 + i * 3600, 305e9 + 0.14e9 * i
    + 8e9 * math.sin(2 * math.pi * i / 24) + (i * 7919 % 101 - 50) * 2e7)
end
lib.write(path, table.concat(lines, '\n') .. '\n')

--- The least wall time of some runs, in milliseconds: the machine's own noise only adds.
local function least(...)
  local best = math.huge
  for _ = 1, os.getenv 'BENCH_SHORT' and 15 or 60 do
    local began = clock.monotonic()
    local status = assert(process.start { lib.program, ... }):wait(60)
    assert(status == 0)
    best = math.min(best, 1000 * (clock.monotonic() - began))
  end
  return best
end

--- Anonymous memory in MB and CPU time in ms when the command has ended, told by its own process:
--- other programs' load does not show in the latter as it does in wall time.
local function own(...)
  local code = [[
    local status = require('command.forecast')(table.unpack(arg))
    for line in io.lines '/proc/self/status' do
      local kb = line:match '^RssAnon:%s*(%d+)'
      if kb then io.stderr:write(kb, ' ', require('perigee.clock').cpu()) end
    end
    os.exit(status)]]
  lib.write(folder .. '/run.lua', code)
  local kilobytes, seconds = 0, math.huge
  for _ = 1, 10 do
    local _, _, err = assert(process.start { lib.program, 'lua', folder .. '/run.lua',
      ... }):wait(60)
    local kb, cpu = err:match '^(%d+) (%S+)$'
    kilobytes = math.max(kilobytes, tonumber(kb))
    seconds = math.min(seconds, (assert(tonumber(cpu), err)))
  end
  return kilobytes / 1024, 1000 * seconds
end

lib.row('perigee version, wall', ('%.1f'):format(least 'version'), 'ms')
for _, model in ipairs { 'auto', 'prophet' } do
  local args = { '--data', path, '--threshold', '450e9', '--model', model }
  local what = 'forecast, 30 days hourly, ' .. model
  lib.at_most(what .. ', wall', least('forecast', table.unpack(args)), 'ms', 20)
  local megabytes, cpu = own(table.unpack(args))
  lib.row(what .. ', CPU', ('%.1f'):format(cpu), 'ms')
  lib.at_most(what .. ', anonymous memory', megabytes, 'MB', 8)
end
