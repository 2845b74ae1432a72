--- Official JavaScript programs, from the packages that tests/node/package.json names:
--- `node.run { script, arguments… }` runs a script of tests/node/ to its end. A script finds a
--- package by require(name), or await import(require.resolve(name)) where it is an ES module.
local file = require 'perigee.file'
local process = require 'perigee.process'

local node = {}

local top = assert(assert(file.executable()):match '^(.*)/build/', 'perigee is not in build/')
node.folder = top .. '/build/node'
node.scripts = top .. '/tests/node'

--- Starts Node with these arguments, where the packages are found.
---@param argv table  as for perigee.process, without the program's name
---@return perigee.process
function node.start(argv)
  local words = { 'env', 'NODE_PATH=' .. node.folder .. '/node_modules', 'node',
    table.unpack(argv) }
  for name, value in pairs(argv) do
    if type(name) == 'string' then words[name] = value end
  end
  words.cwd = words.cwd or node.scripts
  return assert(process.start(words))
end

--- Runs a script to its end. Raises with its words where it fails, or takes too long.
---@param argv table  the script and its arguments; input, limit
---@param seconds? number  60
---@return string stdout
---@return string stderr
function node.run(argv, seconds)
  local child = node.start(argv)
  local status, out, err = child:wait(seconds or 60)
  if not status then
    child:kill(9)
    error(('node %s: still running after %g s'):format(argv[1], seconds or 60), 2)
  end
  if status ~= 0 then error(('node %s: status %d\n%s%s'):format(argv[1], status, out, err), 2) end
  return out, err
end

return node
