--- `make bench`: runs the benchmarks and reports every figure with its goal. Figures are measured
--- here and now; the load of the machine stands beside them. ONLY=memory runs one; BENCH_SHORT=1
--- shortens.
package.path = 'bench/?.lua;' .. package.path
local file = require 'perigee.file'
local lib = require 'lib'

local ALL = {
  'size',
  'memory',
  'cpu',
  'reload',
  'runaway',
  'queries',
  'webhook',
  'forest',
  'boost',
  'trees',
  'anomaly',
  'forecast_command',
  'seasonal',
  'timers',
  'forecast_accuracy',
}
local only = arg[1]

print(('load before: %s'):format((file.read '/proc/loadavg'):match '^%S+ %S+ %S+'))
for _, name in ipairs(ALL) do
  if not only or only == name then
    print(name)
    assert(loadfile('bench/' .. name .. '.lua'))()
  end
end
print(('load after: %s'):format((file.read '/proc/loadavg'):match '^%S+ %S+ %S+'))

local missed = 0
for _, row in ipairs(lib.rows) do missed = missed + (row.met == false and 1 or 0) end
print(('bench: %d figures, %d goals not met'):format(#lib.rows, missed))
