--- The lives of alerts, minute by minute, held against promtool: it evaluates the same rules over
--- the same samples and is told what fired here.
local alert_rules = require 'engine.alert_rules'
local file = require 'perigee.file'
local groups = require 'engine.groups'
local scheduler = require 'engine.scheduler'
local support = require 'lua.engine.support'

local RULES, SERIES, MINUTES <const> = 24, 2, 90
local HOLDS <const> = { '0s', '1m', '2m', '5m' }

--- For each rule and series the values of all minutes: 1 is odd. They come in runs.
local function draw_samples(draw)
  local samples = {}
  for i = 1, RULES do
    samples[i] = {}
    for s = 1, SERIES do
      local values = {}
      while #values < MINUTES do
        local value = draw(2) - 1
        for _ = 1, draw(5) do values[#values + 1] = value end
      end
      samples[i][s] = values
    end
  end
  return samples
end

local function rules_yaml(draw)
  local out = { 'groups:\n- name: g\n  interval: 1m\n  rules:\n' }
  for i = 1, RULES do
    out[#out + 1] = ('  - { alert: A%d, expr: x%d == 1, for: %s, keep_firing_for: %s,\n'
      .. '      labels: { s: "{{ $labels.s }}{{ $labels.s }}" },\n'
      .. '      annotations: { now: "{{ $value }} {{ $labels.s }}" } }\n'):format(i, i,
      HOLDS[draw(#HOLDS)], HOLDS[draw(#HOLDS)])
  end
  return table.concat(out)
end

--- What fires here at each minute, by rule.
local function play(yaml, samples)
  local engine = support.engine { rules = { ['r.yaml'] = yaml } }
  local job, now = scheduler.jobs(engine.rules)[1], nil
  for i = 1, RULES do
    engine.source.answers[('x%d == 1'):format(i)] = function()
      local out = {}
      for s = 1, SERIES do
        if samples[i][s][now] == 1 then out[#out + 1] = { { s = 's' .. s }, 1 } end
      end
      return out
    end
  end
  local fired = {}
  for minute = 1, MINUTES do
    now, fired[minute] = minute, {}
    groups.evaluate(engine, job, support.START + minute * 60)
    for _, alert in ipairs(alert_rules.active(engine)) do
      if alert.state == 'firing' then
        fired[minute][alert.name] = fired[minute][alert.name] or {}
        table.insert(fired[minute][alert.name], alert)
      end
    end
  end
  return fired
end

--- That as promtool takes it.
local function tests_yaml(samples, fired)
  local out = { 'rule_files: [ rules.yaml ]\nevaluation_interval: 1m\ntests:\n- interval: 1m\n'
    .. '  input_series:\n' }
  local function add(format, ...) out[#out + 1] = format:format(...) end
  for i = 1, RULES do
    for s = 1, SERIES do
      add("  - { series: 'x%d{s=\"s%d\"}', values: '%s' }\n", i, s,
        table.concat(samples[i][s], ' '))
    end
  end
  add '  alert_rule_test:\n'
  local n = 0
  for minute = 1, MINUTES do
    for i = 1, RULES do
      add('  - { eval_time: %dm, alertname: A%d, exp_alerts: [', minute - 1, i)
      for _, alert in ipairs(fired[minute]['A' .. i] or {}) do
        add(' { exp_labels: { s: %s }, exp_annotations: { now: "%s" } },', alert.labels.s,
          alert.annotations.now)
        n = n + 1
      end
      add ' ] }\n'
    end
  end
  return table.concat(out), n
end

describe('alerts', function()
  support.still()
  after_each(support.tidy)

  it('live as in Prometheus, whatever their rules and samples', function()
    local draw, folder = support.random(20), support.folder()
    local samples, rules = draw_samples(draw), rules_yaml(draw)
    local tests, n = tests_yaml(samples, play(rules, samples))
    assert.is_true(n > 500, n)
    assert(file.write(folder .. '/rules.yaml', rules))
    assert(file.write(folder .. '/tests.yaml', tests))
    local ok = os.execute(("cd '%s' && promtool test rules tests.yaml >said 2>&1"):format(folder))
    assert.is_true(ok, (file.read(folder .. '/said') or ''):sub(1, 2000))
  end)
end)
