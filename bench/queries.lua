--- 1,000 instant queries in flight at once, through one loop.
local async = require 'async'
local clock = require 'perigee.clock'
local file = require 'perigee.file'
local http = require 'http'
local lib = require 'lib'
local prometheus = require 'prometheus'

local N <const> = 1000
local held, most, release = 0, 0, async.event()

local server <close> = assert(http.serve({ max_connections = 2 * N }, function()
  held = held + 1
  most = math.max(most, held)
  if held == N then release:set() end
  release:wait(20) -- nobody is answered until all have asked
  held = held - 1
  return { headers = { ['Content-Type'] = 'application/json' },
    body = ('{"status":"success","data":{"resultType":"scalar","result":[%.3f,"1"]}}'):format(
    clock.now()) }
end))
local client = prometheus.client { url = ('http://127.0.0.1:%d'):format(server:port()) }
local function threads() return tonumber(
  (assert(file.read '/proc/self/status'):match 'Threads:%s+(%d+)')) end

local before, started = threads(), clock.monotonic()
local queries, answers, peak_threads = {}, 0, 0
for i = 1, N do
  queries[i] = function()
    local vector = client:query('up', clock.now())
    answers = answers + (vector and vector[1].value or 0)
  end
end
async.spawn(function()
  release:wait(30)
  peak_threads = threads()
end)
async.all(queries)
lib.row(('queries in flight at once, of %d'):format(N), tostring(most), '', tostring(N), most == N)
lib.row('answered', ('%d'):format(answers), '', tostring(N), answers == N)
lib.row('threads before and with all in flight', ('%d, %d'):format(before, peak_threads), '',
  'no more', peak_threads <= before)
lib.row('time for all of them', ('%.0f'):format((clock.monotonic() - started) * 1000), 'ms')
