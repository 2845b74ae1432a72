--- What the benchmarks share: a world to measure in, and rows for the report.
local async = require 'async'
local clock = require 'perigee.clock'
local file = require 'perigee.file'
local http = require 'http'
local json = require 'json'
local process = require 'perigee.process'
local testing = require 'testing.world'

local lib = {}

lib.program = file.executable()

--- A row of the report: what, the figure, the goal, and whether it is met.
function lib.row(what, figure, unit, goal, met)
  lib.rows = lib.rows or {}
  table.insert(lib.rows, { what = what, figure = figure, unit = unit, goal = goal, met = met })
  print(('  %-58s %12s %-8s %s'):format(what, figure, unit, goal and
    ('goal %s%s'):format(goal, met == false and '  NOT MET' or '') or ''))
  io.flush()
end

--- A figure of which less is better.
function lib.at_most(what, value, unit, goal, format)
  lib.row(what, (format or '%.1f'):format(value), unit, ('<= %g'):format(goal), value <= goal)
end

function lib.folder()
  local folder = assert(file.temporary_folder 'perigee-bench')
  return folder, setmetatable({}, { __close = function()
    assert(process.start { 'rm', '-rf', folder }):wait(60)
  end })
end

function lib.write(path, text)
  assert(file.make_folder(path:match '^(.*)/'))
  assert(file.write(path, text))
end

function lib.wait_for(what, seconds, f)
  local until_then = clock.monotonic() + seconds
  while clock.monotonic() < until_then do
    local value = f()
    if value then return value end
    async.sleep(0.002)
  end
  error('waited in vain for ' .. what)
end

--- A child process that ends with its scope.
function lib.start(argv)
  local child = assert(process.start(argv))
  return child, setmetatable({}, { __close = function()
    child:kill(15)
    if not child:wait(20) then child:kill(9) end
    child:wait(5)
  end })
end

function lib.get(url)
  local response = http.request { url = url, timeout = 10, max_body = 64 << 20 }
  return response and response.status == 200 and response.body or nil
end

function lib.api(url) return (json.decode(lib.get(url) or '{}') or {}).data end

--- Megabytes of a process: resident, and the anonymous part of it.
function lib.memory(pid)
  local status = assert(file.read(('/proc/%d/status'):format(pid)))
  return tonumber(status:match 'VmRSS:%s+(%d+)') / 1024,
    tonumber(status:match 'RssAnon:%s+(%d+)') / 1024
end

--- CPU seconds of a process, by the scheduler's own count: the ticks of /proc/PID/stat are too
--- coarse for a process that runs a millisecond at a time.
function lib.cpu(pid)
  local ns = 0
  for _, path in ipairs(file.glob(('/proc/%d/task/*/schedstat'):format(pid))) do
    ns = ns + tonumber((file.read(path) or '0'):match '^%d+')
  end
  return ns / 1e9
end

--- perigee run in a folder, with the given rule files. Returns once it is ready.
---@param options { folder: string, rules: table<string, string>, source: string, config?: string }
function lib.perigee(options)
  local port = testing.free_port()
  for name, text in pairs(options.rules) do lib.write(options.folder .. '/rules/' .. name, text) end
  lib.write(options.folder .. '/perigee.yaml', ([[
listen: 127.0.0.1:%d
data_dir: ./data
lifecycle: true
source: { prometheus: { url: "%s", timeout: 10s } }
%s]]):format(port, options.source, options.config or ''))
  local started = clock.monotonic()
  local child, scope = lib.start { lib.program, 'run', '-c', options.folder .. '/perigee.yaml',
    output = options.folder .. '/log' }
  local url = ('http://127.0.0.1:%d'):format(port)
  lib.wait_for('perigee', 30, function() return lib.get(url .. '/-/ready') end)
  return { url = url, child = child, pid = child:pid(), ready = clock.monotonic() - started,
    log = options.folder .. '/log' }, scope
end

--- A Prometheus that scrapes one target each second, with history when OpenMetrics text is given.
function lib.prometheus(folder, target, history, interval)
  if history then
    lib.write(folder .. '/history.om', history)
    local child = assert(process.start { 'promtool', 'tsdb', 'create-blocks-from', 'openmetrics',
      '--max-block-duration=240h', folder .. '/history.om', folder .. '/prometheus' })
    assert(child:wait(300) == 0)
  end
  lib.write(folder .. '/prometheus.yml', ([[
global: { scrape_interval: %s }
scrape_configs: [ { job_name: bench, static_configs: [ { targets: ["%s"] } ] } ]
]]):format(interval or '5s', target))
  local port = testing.free_port()
  local _, scope = lib.start { 'prometheus', '--config.file=' .. folder .. '/prometheus.yml',
    '--storage.tsdb.path=' .. folder .. '/prometheus', '--storage.tsdb.retention.time=90d',
    ('--web.listen-address=127.0.0.1:%d'):format(port), output = folder .. '/prometheus.log' }
  local url = ('http://127.0.0.1:%d'):format(port)
  lib.wait_for('Prometheus', 60, function() return lib.get(url .. '/-/ready') end)
  return url, scope
end

--- A source that answers every query with one series, named after the query, whose value is 1.
function lib.fake_source()
  return assert(http.serve({ max_connections = 500 }, function(request)
    local sample = { metric = { name = http.parse_form(request.body).query },
      value = { clock.now(), '1' } }
    return { headers = { ['Content-Type'] = 'application/json' }, body = json.encode {
      status = 'success', data = { resultType = 'vector', result = { sample } } } }
  end))
end

--- The value of one sample in a text of metrics; 0 where there is none.
function lib.metric(text, name)
  for line in text:gmatch '[^\n]+' do
    if line:sub(1, #name + 1) == name .. ' ' then return tonumber(line:match '(%S+)$') end
  end
  return 0
end

return lib
