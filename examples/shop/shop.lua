--- A small shop to watch: it serves a checkout, measures itself as a service should, and has a
--- version 2 that is bad. Run it with `perigee lua examples/shop/shop.lua --port 8080 --traffic
--- 20`.
---
---   GET  /checkout   sells something
---   GET  /metrics    counters and histograms for Prometheus
---   GET  /version    which version is deployed
---   POST /deploy     {"version": 2}: deploys it; version 2 is slow, fails often and burns CPU
---   POST /rollback   back to the version before
---   POST /faults     {"latency": s, "error_ratio": r, "cpu": s}: faults of your own making
local async = require 'async'
local clock = require 'perigee.clock'
local http = require 'http'
local json = require 'json'
local metrics = require 'perigee.metrics'

local options = { port = '0', traffic = '20' }
for i = 1, #arg, 2 do options[arg[i]:gsub('^%-%-', '')] = arg[i + 1] end

local BUCKETS = { 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5 }
local requests = metrics.family('counter', 'http_requests_total', 'Requests served.',
  'namespace,app,code')
local seconds = metrics.family('histogram', 'http_request_duration_seconds',
  'Time to serve a request.', 'namespace,app', BUCKETS)
local cpu = metrics.family('counter', 'process_cpu_seconds_total', 'CPU time used.',
  'namespace,app')
local deployed = metrics.family('gauge', 'shop_version_info', 'The version that is deployed.',
  'namespace,app,version')

--- What each version does to a request: seconds it takes, the share that fails, CPU seconds it
--- burns.
local VERSIONS = {
  { latency = 0.02, error_ratio = 0.004, cpu = 0.0005 },
  { latency = 0.7, error_ratio = 0.25, cpu = 0.012 },
}
local history, faults = { 1 }, nil

local function behaviour() return faults or VERSIONS[history[#history]] or VERSIONS[1] end

local function burn(cpu_seconds)
  local until_then = clock.cpu() + cpu_seconds
  while clock.cpu() < until_then do end -- luacheck: ignore 542
end

local function checkout()
  local started, b = clock.monotonic(), behaviour()
  burn(b.cpu)
  async.sleep(b.latency * (0.5 + math.random()))
  local code = math.random() < b.error_ratio and '500' or '200'
  requests:add(1, 'shop', 'checkout', code)
  seconds:observe(clock.monotonic() - started, 'shop', 'checkout')
  return { status = tonumber(code), body = code == '200' and 'thank you\n' or 'sorry\n' }
end

local function json_answer(value, status)
  return { status = status, headers = { ['Content-Type'] = 'application/json' },
    body = json.encode(value) .. '\n' }
end

local function version() return json_answer { version = history[#history],
  deployments = #history } end

local function deploy(request)
  local wanted = (json.decode(request.body) or {}).version
  if not VERSIONS[wanted] then
    return json_answer({ error = 'expected {"version": 1} or {"version": 2}' }, 400)
  end
  history[#history + 1] = wanted
  return version()
end

local function rollback()
  if #history == 1 then
    return json_answer({ error = 'there is no version before this one' }, 409)
  end
  history[#history] = nil
  return version()
end

local function set_faults(request)
  local wanted = json.decode(request.body)
  if type(wanted) ~= 'table' then
    return json_answer({ error = 'expected {"latency", "error_ratio", "cpu"}' }, 400)
  end
  faults = next(wanted) and { latency = wanted.latency or 0.02, error_ratio = wanted.error_ratio
    or 0, cpu = wanted.cpu or 0 } or nil
  return json_answer(behaviour())
end

-- there before the first
for _, code in ipairs { '200', '500' } do requests:add(0, 'shop', 'checkout', code) end

local cpu_told = 0
local function scrape()
  cpu:add(clock.cpu() - cpu_told, 'shop', 'checkout')
  cpu_told = clock.cpu()
  deployed:clear()
  deployed:set(1, 'shop', 'checkout', tostring(history[#history]))
  return { headers = { ['Content-Type'] = 'text/plain; version=0.0.4; charset=utf-8' },
    body = metrics.expose(false) }
end

local ROUTES = { ['GET /checkout'] = checkout, ['GET /metrics'] = scrape,
  ['GET /version'] = version,
  ['POST /deploy'] = deploy, ['POST /rollback'] = rollback, ['POST /faults'] = set_faults }

local server =
  assert(http.serve({ port = math.tointeger(tonumber(options.port)), max_connections = 500 },
  function(request)
  local route = ROUTES[request.method .. ' ' .. request.path]
  if route then return route(request) end
  return { status = 404, body = 'there is nothing here\n' }
end))
print(('the shop serves http://127.0.0.1:%d'):format(server:port()))
io.stdout:flush()

-- Its customers: so many a second, each at a moment of its own.
local rate = tonumber(options.traffic)
local address = ('http://127.0.0.1:%d/checkout'):format(server:port())
math.randomseed(42)
while true do
  if rate > 0 then async.spawn(http.request, { url = address, timeout = 5, target = 'shop' }) end
  async.sleep(rate > 0 and (0.5 + math.random()) / rate or 1)
end
