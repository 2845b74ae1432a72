--- The program's size, and how soon it is ready with 100 rules.
local file = require 'perigee.file'
local lib = require 'lib'

lib.at_most('the binary', file.stat(lib.program).size / 2 ^ 20, 'MB', 8)

local rules = {}
for i = 1, 100 do
  rules[('r%d.lua'):format(i)] = ([[
signal "s%d" {
  query = "up", every = "15s",
  detector = z_score { history = "1d", step = "5m" },
  labels = { severity = "warning" },
  annotations = { summary = "{{ humanize $value }} on {{ $labels.instance }}" },
}]]):format(i)
end

local times = {}
for i = 1, 5 do
  local folder <const>, _gone <close> = lib.folder()
  -- Nobody listens there: what is measured is the start, not the source.
  local perigee, _ended <close> = lib.perigee { folder = folder, rules = rules,
    source = 'http://127.0.0.1:9' }
  times[i] = perigee.ready * 1000
end
table.sort(times)
lib.at_most('from exec to ready with 100 rules in 100 files, median of 5', times[3], 'ms', 100)
