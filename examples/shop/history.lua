--- Two weeks of the shop's past, as OpenMetrics text for `promtool tsdb create-blocks-from
--- openmetrics`: three samples every five minutes, which is what rate(…[10s]) at those times needs.
--- Usage: perigee lua examples/shop/history.lua INSTANCE >history.om
local instance = arg[1] or '127.0.0.1:8080'

local DAYS, STEP, WINDOW = 14, 300, { 8, 4, 0 }
local LABELS = ('namespace="shop",app="checkout",instance="%s",job="shop"'):format(instance)
local BUCKETS = { '0.005', '0.01', '0.025', '0.05', '0.1', '0.25', '0.5', '1', '2.5', '+Inf' }
-- Of a hundred requests, how many take at most as long as the bucket says; the tail differs each
-- time.
local SHARES = { 0, 0.02, 0.55, 0.985, 0.996, 1, 1, 1, 1, 1 }

math.randomseed(7)
local out = {}
for _, name in ipairs { 'requests_200', 'requests_500', 'cpu', 'count' } do out[name] = {} end
for i = 1, #BUCKETS do out[i] = {} end
local total = { requests_200 = 0, requests_500 = 0, cpu = 0, count = 0 }
for i = 1, #BUCKETS do total[i] = 0 end

local function write(name, format, ...) table.insert(out[name], format:format(...)) end

local now = os.time() // STEP * STEP
for at = now - DAYS * 86400, now, STEP do
  local hour = at % 86400 / 3600
  local weekend = (at // 86400 + 4) % 7 == 0 or (at // 86400 + 4) % 7 == 6
  local rate = 20 * (1 + 0.5 * math.sin((hour - 9) / 24 * 2 * math.pi)) * (weekend and 0.6
    or 1) * (0.9 + 0.2 * math.random())
  local errors, tail = 0.002 + 0.008 * math.random(), 0.008 * (math.random() - 0.5)
  local cpu = 0.015 + 0.0006 * rate + 0.02 * math.random()
  for _, before in ipairs(WINDOW) do
    local n = rate * 4 -- requests in the four seconds since the sample before
    total.requests_200, total.requests_500 = total.requests_200 + n * (1 - errors),
      total.requests_500 + n * errors
    total.cpu, total.count = total.cpu + cpu * 4, total.count + n
    for i, share in ipairs(SHARES) do
      total[i] = total[i] + n * math.min(1, i < #SHARES and share > 0.9 and share < 1
        and share + tail or share)
      write(i, 'http_request_duration_seconds_bucket{%s,le="%s"} %.3f %d', LABELS, BUCKETS[i],
        total[i], at - before)
    end
    write('count', 'http_request_duration_seconds_count{%s} %.3f %d', LABELS, total.count,
      at - before)
    write('requests_200', 'http_requests_total{%s,code="200"} %.3f %d', LABELS, total.requests_200,
      at - before)
    write('requests_500', 'http_requests_total{%s,code="500"} %.3f %d', LABELS, total.requests_500,
      at - before)
    write('cpu', 'process_cpu_seconds_total{%s} %.4f %d', LABELS, total.cpu, at - before)
  end
end

local function lines(name) io.write(table.concat(out[name], '\n'), '\n') end
print '# TYPE http_requests counter'
lines 'requests_200'
lines 'requests_500'
print '# TYPE http_request_duration_seconds histogram'
for i = 1, #BUCKETS do lines(i) end
lines 'count'
print '# TYPE process_cpu_seconds counter'
lines 'cpu'
print '# EOF'
