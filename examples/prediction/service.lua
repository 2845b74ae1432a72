--- A hundred and twenty days of a made-up service, a row every five minutes, as CSV: its metrics,
--- and whether an outage began within the hour after. Memory leaks until the service is restarted
--- or fails; a bad release brings errors; most outages have a cause that shows before, some have
--- none. The same seed gives the same rows on every machine.
---
---     perigee lua examples/prediction/service.lua [SEED] > service.csv
local DAYS <const>, STEP <const>, AHEAD <const> = 120, 300, 12
local START <const> = 1782864000 -- 2026-07-01, Unix seconds

local x = tonumber(arg and arg[1] or 1) * 2654435761 % 0x100000000 | 1
local function uniform()
  x = x ~ (x << 13) & 0xffffffff
  x = x ~ (x >> 17)
  x = x ~ (x << 5) & 0xffffffff
  return x / 0x100000000
end
local function normal() return (uniform() + uniform() + uniform() + uniform() - 2) * 1.73 end

--- The service from one step to the next.
local s = { leak = 0, bad = 0, outage = 0 }
local function step(i)
  local hour = i * STEP / 3600 % 24
  local traffic = 0.55 + 0.35 * math.sin((hour - 9) / 24 * 2 * math.pi) + 0.05 * normal()
  if i // (86400 / STEP) % 7 >= 5 then traffic = traffic * 0.7 end
  s.leak = s.leak + 0.0012 * traffic
  s.bad = uniform() < 0.002 and 12 + 24 * uniform() or math.max(0, s.bad - 1)
  local memory = 35 + 60 * s.leak + 2 * normal()
  local gc = 8 + 60 * math.max(0, s.leak - 0.6) + 2 * math.abs(normal())
  local errors = math.max(0, 0.004 + 0.002 * normal() + (s.bad > 0 and 0.02 + 0.01 * normal() or 0)
    + 0.04 * math.max(0, s.leak - 0.85))
  local row = { cpu_usage = 15 + 70 * traffic + 0.4 * gc + 3 * normal(), memory_usage = memory,
    disk_io = 20 + 25 * traffic + 6 * math.abs(normal()),
    network_latency = 12 + 10 * traffic + 0.5 * gc + 2 * normal(), error_rate = errors,
    request_rate = 900 * traffic + 20 * normal(), gc_pause_time = gc,
    thread_count = 120 + 90 * traffic + (s.bad > 0 and 25 or 0) + 5 * normal() }
  local hazard = 0.0001 + (s.bad > 0 and 0.1 or 0) + (s.leak > 0.85 and 0.2 or 0)
  if s.outage > 0 then
    s.outage = s.outage - 1
    if s.outage == 0 then s.leak, s.bad = 0, 0 end
  elseif uniform() < hazard then
    s.outage = 4 + math.floor(8 * uniform())
  elseif s.leak > 0.7 and uniform() < 0.004 then
    s.leak = 0 -- somebody restarts it in time
  end
  return row, s.outage > 0
end

local NAMES = { 'cpu_usage', 'memory_usage', 'disk_io', 'network_latency', 'error_rate',
  'request_rate', 'gc_pause_time', 'thread_count' }

local rows, down, n = {}, {}, DAYS * 86400 // STEP
for i = 1, n + AHEAD do rows[i], down[i] = step(i) end
print('time,' .. table.concat(NAMES, ',') .. ',failure')
for i = 1, n do
  if not down[i] then -- during an outage there is nothing left to predict
    local failure, fields = 0, { ('%d'):format(START + i * STEP) }
    for k = i + 1, i + AHEAD do failure = down[k] and 1 or failure end
    for j, name in ipairs(NAMES) do fields[j + 1] = ('%.5g'):format(rows[i][name]) end
    print(table.concat(fields, ',') .. ',' .. failure)
  end
end
