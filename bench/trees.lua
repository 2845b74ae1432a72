--- Trees: one row, many rows, TreeSHAP and loading beside XGBoost's C library (Debian's), in turns
--- in the same run: what bench/trees.c measures. AVX-512 has no code of its own.
local lib = require 'lib'
local process = require 'perigee.process'

local PROGRAM = (lib.program:match '^(.*)/' or 'build') .. '/bench/trees'

local folder, scope = lib.folder()
local _ <close> = scope
local path = folder .. '/out'
local argv = { PROGRAM, output = path }
if os.getenv 'BENCH_SHORT' then argv[2] = 'short' end
assert(assert(process.start(argv)):wait(600) == 0)
for line in io.lines(path) do
  local name, value, unit, goal = line:match '^([^\t]*)\t([^\t]*)\t([^\t]*)\t([^\t]*)$'
  if value == '-' then
    lib.row(name, 'not measured', '')
  elseif goal == '' then
    lib.row(name, value, unit)
  else
    lib.at_most(name, tonumber(value), unit, tonumber(goal), '%.3f')
  end
end
