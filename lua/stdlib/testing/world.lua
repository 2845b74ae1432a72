--- A small world of real programs, for the demo and the tests from end to end: a folder, free
--- ports, a Prometheus, the shop. All of it is gone when the world is closed.
local async = require 'async'
local clock = require 'perigee.clock'
local embedded = require 'perigee.embedded'
local file = require 'perigee.file'
local hash = require 'perigee.hash'
local http = require 'http'
local process = require 'perigee.process'

local world = {}

--- What should be and is not, in words for a person.
world.Failure = { __tostring = function(f) return f.message end }

--- The value, or a failure in these words.
function world.must(value, format, ...)
  if value then return value end
  error(setmetatable({ message = format:format(...) }, world.Failure), 0)
end
local must = world.must

--- The body of a page, or nil where there is none.
---@param url string
---@return string?
function world.get(url)
  local response = http.request { url = url, timeout = 10, max_body = 64 << 20 }
  return response and response.status == 200 and response.body or nil
end

--- A port of 127.0.0.1 where nobody listens. It lies below those that the system gives to
--- connections, so that none of these takes it before it is used.
---@return integer
function world.free_port()
  for _ = 1, 100 do
    local port = 10240 + tonumber(hash.random(2), 16) % 22528
    local server = http.serve({ port = port }, function() return {} end)
    if server then
      server:close()
      return port
    end
  end
  return must(nil, 'no free port')
end

---@class testing.World
---@field folder string
---@field program string   the perigee that runs
---@field children table   what was started: { name, process }
local World = {}
World.__index = World
world.World = World

--- A world with nothing in it but a folder.
---@param prefix string  of the folder's name
---@return testing.World
function world.new(prefix)
  return setmetatable({ folder = must(file.temporary_folder(prefix), 'no temporary folder'),
    program = must(file.executable(), 'where am I?'), children = {} }, World)
end

function World:path(name) return self.folder .. '/' .. name end

--- Writes a file below the folder, and the folders that it lies in. Returns its path.
function World:write(name, text)
  local path = self:path(name)
  must(file.make_folder(path:match '^(.*)/'), 'cannot make a folder for %s', path)
  must(file.write(path, text), 'cannot write %s', path)
  return path
end

--- The words that a child has said so far.
function World:log(name) return file.read(self:path(name .. '.log'), 256 << 20) or '' end

--- Starts a program; its output goes to a log in the folder.
---@param name string
---@param argv table  as for perigee.process
function World:start(name, argv)
  argv.output = self:path(name .. '.log')
  local child, message = process.start(argv)
  must(child, '%s: %s', name, tostring(message))
  self.children[#self.children + 1] = { name = name, process = child }
  return child
end

--- Runs a program to its end. Returns what it wrote.
function World:run(name, argv)
  local child, message = process.start(argv)
  local status, out, err = must(child, '%s: %s', name, tostring(message)):wait(60)
  must(status == 0, '%s failed: %s', name, (err or '') .. (out or ''))
  return out
end

--- Waits until f() gives something, and returns it; where it stays away, the children's last words
--- are told.
---@param what string
---@param seconds number
---@param f function
function World:wait_for(what, seconds, f)
  local until_then = clock.monotonic() + seconds
  while true do
    local value = f()
    if value then return value end
    if clock.monotonic() >= until_then then
      must(false, 'waited %g s in vain for %s%s', seconds, what, self:last_words())
    end
    async.sleep(0.05)
  end
end

function World:last_words()
  local out = {}
  for _, child in ipairs(self.children) do
    local log = self:log(child.name)
    out[#out + 1] = ('\n-- %s, %s\n%s'):format(child.name,
      child.process:running() and 'which runs' or 'which has ended', log:sub(-3000))
  end
  return table.concat(out)
end

--- Ends a child in order, or after a while by force.
function World:stop(child)
  child:kill(15)
  if not child:wait(10) then child:kill(9) end
  child:wait(5)
end

--- Ends what was started, the last first, and takes the folder away.
---@param keep? boolean  leaves the folder
function World:close(keep)
  for i = #self.children, 1, -1 do self:stop(self.children[i].process) end
  if not keep then self:run('rm', { 'rm', '-rf', self.folder }) end
end

--- Starts a Prometheus.
---@param options { port?: integer, targets: string[], history?: string, jobs?: string,
---       more?: string }  history: OpenMetrics text; jobs: YAML, items of scrape_configs; more:
---       YAML behind the configuration
---@return string url
---@return perigee.process child
function World:prometheus(options)
  local port = options.port or world.free_port()
  if options.history then
    self:write('history.om', options.history)
    self:run('promtool', { 'promtool', 'tsdb', 'create-blocks-from', 'openmetrics',
      '--max-block-duration=240h', self:path 'history.om', self:path 'prometheus-data' })
  end
  self:write('prometheus.yml', ([[
global: { scrape_interval: 1s, evaluation_interval: 1s }
scrape_configs:
  - { job_name: shop, static_configs: [ { targets: ["%s"] } ] }
%s%s]]):format(table.concat(options.targets, '", "'), options.jobs or '', options.more or ''))
  local child = self:start('prometheus', { 'prometheus',
    '--config.file=' .. self:path 'prometheus.yml',
    '--storage.tsdb.path=' .. self:path 'prometheus-data', '--storage.tsdb.retention.time=90d',
    ('--web.listen-address=127.0.0.1:%d'):format(port) })
  local url = ('http://127.0.0.1:%d'):format(port)
  self:wait_for('Prometheus', 30, function() return world.get(url .. '/-/ready') end)
  return url, child
end

--- Two weeks of the shop's past, as OpenMetrics text.
---@param instance string  the shop's host and port
function World:shop_history(instance)
  local script = self:write('history.lua', embedded.get 'examples/shop/history.lua')
  return self:run('history', { self.program, 'lua', script, instance, limit = 256 << 20 })
end

--- Starts the shop, with so many customers a second.
---@return string url
function World:shop(port, traffic)
  local script = self:write('shop.lua', embedded.get 'examples/shop/shop.lua')
  self:start('shop', { self.program, 'lua', script, '--port', tostring(port), '--traffic',
    tostring(traffic) })
  local url = ('http://127.0.0.1:%d'):format(port)
  self:wait_for('the shop', 10, function() return world.get(url .. '/version') end)
  return url
end

return world
