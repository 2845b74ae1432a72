--- The classic anomaly rules and the corrected ones, over two weeks of history in a real
--- Prometheus: what fires, where, and what stays silent; and our evaluation beside Prometheus'.
local alert_rules = require 'engine.alert_rules'
local file = require 'perigee.file'
local groups = require 'engine.groups'
local prometheus = require 'prometheus'
local random = require('lua.detectors.support').random
local scheduler = require 'engine.scheduler'
local support = require 'lua.engine.support'
local world = require 'e2e.world'

local STEP, DAYS <const> = 120, 15
local DAY, HOUR <const> = 86400, 3600
local GIB <const> = 1 << 30

local rules = {}
for _, name in ipairs { 'classic', 'classic_corrected' } do
  rules[name .. '.yaml'] = assert(file.read(('rules/%s.yaml'):format(name)))
end

-- -- the history ----------------------------------------------------------------------------------

--- Adds the samples of a series: f(t) from `from` until `stop`.
local function series(out, name, labels, from, stop, f)
  for t = from, stop, STEP do
    out[#out + 1] = ('%s{%s} %.10g %d'):format(name, labels, f(t), t)
  end
end

--- A counter that grows by rate(t) a second.
local function counter(rate)
  local total = 0
  return function(t)
    total = total + STEP * rate(t)
    return total
  end
end

--- What a machine's busy share is: around a usual one, and something else since an hour's third.
local function busy(stop, usual, lately, draw)
  return function(t)
    local base = t > stop - 1200 and lately or usual
    return math.max(0, math.min(1, base + 0.02 * (draw() - 0.5)))
  end
end

--- The idle time of three machines: one as ever, one that is hot, one that has stopped working.
local function cpu(out, from, stop)
  out[#out + 1] = '# TYPE node_cpu_seconds counter'
  local machines = { { 'steady', 0.1, 0.1 }, { 'hot', 0.1, 0.95 }, { 'dead', 0.5, 0.01 } }
  for i, machine in ipairs(machines) do
    local share = busy(stop, machine[2], machine[3], random(i))
    series(out, 'node_cpu_seconds_total', ('cpu="0",instance="%s",mode="idle"'):format(machine[1]),
      from, stop, counter(function(t) return 1 - share(t) end))
  end
end

--- Free memory swings between 30 and 90 % a day; both machines should have most of it now, and
--- "leaking" has 45 %.
local function memory(out, from, stop)
  local function usual(t) return 0.6 + 0.3 * math.cos(2 * math.pi * (t - stop) / DAY) end
  for _, name in ipairs { 'node_memory_MemAvailable_bytes', 'node_memory_MemTotal_bytes' } do
    out[#out + 1] = ('# TYPE %s gauge'):format(name)
    for _, instance in ipairs { 'swinging', 'leaking' } do
      series(out, name, ('instance="%s"'):format(instance), from, stop, function(t)
        if name:find 'Total' then return 16 * GIB end
        local share = instance == 'leaking' and t > stop - 1800 and 0.45 or usual(t)
        return share * 16 * GIB
      end)
    end
  end
end

--- Requests, so many in a second. Most take less than 100 ms; those that are slow, whose share
--- slow(t) is, between half a second and one.
local BUCKETS <const> = { '0.1', '0.5', '1', '5', '+Inf' }
local function requests(out, job, pod, from, stop, rate, slow)
  for i, le in ipairs(BUCKETS) do
    series(out, 'http_request_duration_seconds_bucket',
      ('instance="%s",job="%s",le="%s"'):format(pod, job, le), from, stop, counter(function(t)
        return i <= 2 and rate * (1 - slow(t)) or rate
      end))
  end
end

--- "shop" has a new pod since twenty minutes, which is slow; "batch" is called once in ten minutes,
--- and the last call was slow; "blog" is as ever.
local function latency(out, from, stop)
  out[#out + 1] = '# TYPE http_request_duration_seconds histogram'
  local function always(x) return function() return x end end
  local since = stop - 1200
  requests(out, 'shop', 'shop-old', from, since, 20, always(0.005))
  requests(out, 'shop', 'shop-new', since, stop, 20, always(0.3))
  requests(out, 'blog', 'blog-1', from, stop, 5, always(0.005))
  requests(out, 'batch', 'batch-1', from, stop, 1 / 600, function(t)
    return t > since and 0.9 or 0
  end)
end

local function history(stop)
  local out, from = {}, stop - DAYS * DAY
  cpu(out, from, stop)
  memory(out, from, stop)
  latency(out, from, stop)
  out[#out + 1] = '# EOF\n'
  return table.concat(out, '\n')
end

-- -- the rules ------------------------------------------------------------------------------------

describe('on a real Prometheus with two weeks of history', function()
  local w, url, stop
  setup(function()
    stop = os.time() // STEP * STEP
    w = world.new()
    for name, text in pairs(rules) do w:write('rules.d/' .. name, text) end
    url = w:prometheus { targets = { '127.0.0.1:1' }, history = history(stop),
      more = 'rule_files: [ rules.d/*.yaml ]\n' }
  end)
  teardown(function() w:close() end)
  after_each(support.tidy)

  --- What fires at a time, having been evaluated for the quarter of an hour before: names with the
  --- values of a label, "Name: a b".
  local function firing(file_name, at)
    local engine = support.engine { rules = { [file_name] = rules[file_name] },
      source = prometheus.client { url = url } }
    local job = scheduler.jobs(engine.rules)[1]
    for slot = at - 900, at, 300 do groups.evaluate(engine, job, slot) end
    for _, rule in ipairs(job.def.rules) do
      local row = engine.store:row('select * from signals where name = ?', rule.key)
      assert.same({ 'ok', '' }, { row.health, row.error }, rule.name)
    end
    local found, names, out = {}, {}, {}
    for _, alert in ipairs(alert_rules.active(engine)) do
      if alert.state == 'firing' then
        names[#names + 1] = not found[alert.name] and alert.name or nil
        found[alert.name] = found[alert.name] or {}
        table.insert(found[alert.name], alert.labels.instance or alert.labels.job)
      end
    end
    for i, name in ipairs(names) do
      table.sort(found[name])
      out[i] = name .. ': ' .. table.concat(found[name], ' ')
    end
    return out
  end

  -- First, for it alone is about the present, which the history ends just before.
  it('Prometheus and perigee make the same of them', function()
    local p = w:perigee { source = url, rules = rules, config = 'evaluation_interval: 1s\n' }
    local client = prometheus.client { url = url }
    local function seen(answer)
      local out = {}
      for _, group in ipairs(answer.groups) do
        for _, rule in ipairs(group.rules) do
          for _, alert in ipairs(rule.alerts) do
            out[#out + 1] = ('%s %s %s'):format(alert.state,
              prometheus.labels_text(alert.labels), alert.annotations.summary)
          end
          out[#out + 1] = ('%s %s %s'):format(rule.name, rule.state, rule.health)
        end
      end
      table.sort(out)
      return out
    end
    local theirs = w:wait_for('Prometheus to have evaluated', 15, function()
      local found = seen(client:get 'rules')
      return #found == 11 and found
    end)
    w:wait_for('perigee to have evaluated', 15, function()
      return #seen(p:get '/api/v1/rules') == 11
    end)
    assert.same(theirs, seen(p:get '/api/v1/rules'))
    p:stop()
  end)

  it('the originals stay silent where they should not, and fire where they should not', function()
    -- Not the hot machine, not the dead one; not where half of the memory is gone that should be
    -- there now; not a whole job that is slow since its roll-out. Only a handler that is called
    -- once in ten minutes.
    assert.same({ 'LatencyAnomalyDetected: batch-1' }, firing('classic.yaml', stop))
    assert.same({}, firing('classic.yaml', stop - 3 * HOUR))
    -- Every day at the usual low.
    assert.same({ 'MemoryAnomalyDetected: leaking swinging' },
      firing('classic.yaml', stop - 12 * HOUR))
  end)

  it('the corrected ones fire for what is odd, and for nothing else', function()
    assert.same({ 'CPUUsageAnomaly: dead hot', 'MemoryUsageAnomaly: leaking',
      'LatencyAnomaly: shop' }, firing('classic_corrected.yaml', stop))
    assert.same({}, firing('classic_corrected.yaml', stop - 3 * HOUR))
    assert.same({}, firing('classic_corrected.yaml', stop - 12 * HOUR))
  end)

  it('the z-score of a counter is that of a ramp, whatever the machine does', function()
    local client = prometheus.client { url = url }
    local z = rules['classic.yaml']:match 'expr: |%s*(.-) > 3'
    local found = assert(client:query(z, stop))
    assert.equal(3, #found)
    for _, sample in ipairs(found) do
      assert.near(3 ^ 0.5, sample.value, 0.1, sample.labels.instance)
    end
  end)
end)
