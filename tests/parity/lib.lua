--- What the parity scripts share: the data, the peers, and the count of what agrees.
---
--- A script opens with `package.path = 'tests/parity/?.lua;' .. package.path`, says each thing it
--- compares with lib.check, and ends with lib.finish. Only what differs is printed line by
--- line. Where data or a peer is absent it says so with lib.absent and goes on.
local file = require 'perigee.file'
local process = require 'perigee.process'

local lib = { passed = 0, failed = 0 }

lib.DATA = '../shared/data'

--- The path of a file or folder of the data; where it is not there nil, and a line that says so.
---@param name string  "anomaly/tab_cardio.csv"
---@return string?
function lib.data(name)
  local path = lib.DATA .. '/' .. name
  local found = assert(file.glob(path))
  if #found > 0 then return path end
  lib.absent(path)
end

function lib.absent(what) print(('not compared: there is no %s here'):format(what)) end

--- One comparison: ok or not, with words for where it is not.
---@param ok boolean
---@param what string
---@param ... any  for what, as string.format takes them
function lib.check(ok, what, ...)
  if ok then
    lib.passed = lib.passed + 1
  else
    lib.failed = lib.failed + 1
    print('  FAILED ' .. what:format(...))
  end
  return ok
end

--- Two numbers, or two arrays of them, that differ by `tolerance` at most; NaN equals NaN.
---@param what string
function lib.close(what, got, expected, tolerance)
  if type(got) == 'number' then got, expected = { got }, { expected } end
  if #got ~= #expected then
    return lib.check(false, '%s: %d values, expected %d', what, #got, #expected)
  end
  local worst, at = -1, 1
  for i, x in ipairs(got) do
    local y = expected[i]
    local d = (x == y or (x ~= x and y ~= y)) and 0 or math.abs(x - y)
    if d ~= d then d = math.huge end
    if d > worst then worst, at = d, i end
  end
  return lib.check(worst <= tolerance, '%s: differs by %g (limit %g) at %d: %.17g, expected %.17g',
    what, worst, tolerance, at, got[at] or 0, expected[at] or 0)
end

--- What a peer prints; nil and its standard error where it fails. Python is /usr/bin/python3, which
--- Debian's packages are for. `input` is what it reads.
---@param argv string[]
---@return string? output
function lib.run(argv, input)
  local child, message = process.start { limit = 1 << 28, input = input, table.unpack(argv) }
  if not child then return nil, message end
  local status, output, errors = child:wait()
  if status == 0 then return output end
  return nil, errors
end

--- Whether Python has a module.
function lib.has_python(module)
  return lib.run { '/usr/bin/python3', '-c', 'import ' .. module } ~= nil
end

--- The last line, and the exit status.
---@param name string  of the script, without ".lua"
function lib.finish(name)
  print(('%s: %d passed, %d failed'):format(name, lib.passed, lib.failed))
  os.exit(lib.failed == 0)
end

return lib
