local config = require 'config'
local file = require 'perigee.file'
local load_rules = require 'rules.load'

local folder
setup(function() folder = assert(file.temporary_folder 'perigee-triggers') end)
teardown(function() os.execute(("rm -rf '%s'"):format(folder)) end)

--- Loads a playbook with this `when`; its trigger, and what is wrong and odd, as texts.
local function read(when, plan)
  local path = folder .. '/r.lua'
  assert(file.write(path, ('playbook "p" { when = %s, trust = "recommend",\nplan = %s }\n'):format(
    when, plan or '{}')))
  local set, problems, warnings = load_rules.load({ path }, { every = 30, limits = {} })
  local texts = {}
  for i, p in ipairs(problems) do
    texts[i] = config.problem_text(p):gsub('^.*r%.lua:%d+:?%d*: playbook "p": ', '')
  end
  for _, p in ipairs(warnings) do texts[#texts + 1] = 'odd: ' .. p.message end
  return set.playbooks.p and set.playbooks.p.when, table.concat(texts, '\n')
end

local function good(when, plan)
  local trigger, words = read(when, plan)
  assert.equal('', words)
  return trigger
end

local function wrong(when) return (select(2, read(when))) end

describe('when', function()
  it('takes an alert with labels, in two spellings, and without', function()
    assert.same({ kind = 'alert', name = 'Down', labels = {} }, good 'alert "Down"')
    for _, text in ipairs { 'alert "Down" { job = "a" }',
      'alert "Down" { labels = { job = "a" } }' } do
      assert.same({ kind = 'alert', name = 'Down', labels = { job = 'a' } }, good(text))
    end
    assert.equal('when.job: expected a text, not 5', wrong 'alert "Down" { job = 5 }')
    assert.equal('when: expected the name of an alert: alert "Name", not ""', wrong 'alert ""')
    assert.equal('when: expected the name of an alert: alert "Name", not a table',
      wrong 'alert { job = "a" }')
  end)

  it('takes signals, forecasts and predictions by their names', function()
    local path = folder .. '/s.lua'
    assert(file.write(path, [[
signal "s" { query = "q", detector = threshold { above = 1 } }
forecast "f" { query = "q", threshold = 1, alert_when = "days_until_threshold < 1" }
playbook "a" { when = signal "s", trust = "recommend", plan = {} }
playbook "b" { when = forecast "f", trust = "recommend", plan = {} }
playbook "c" { when = forecast "s", trust = "recommend", plan = {} }
playbook "d" { when = prediction "p", trust = "recommend", plan = {} }
]]))
    local set, problems = load_rules.load({ path }, { every = 30, limits = {} })
    assert.same({ kind = 'signal', name = 's' }, set.playbooks.a.when)
    assert.same({ kind = 'forecast', name = 'f' }, set.playbooks.b.when)
    assert.equal(2, #problems)
    assert.matches('there is no forecast "s"', problems[1].message)
    assert.matches('there is no prediction "p"', problems[2].message)
  end)

  it('takes events of Kubernetes', function()
    assert.same({ kind = 'kubernetes_event', reason = 'BackOff', type = 'Warning',
      event_kind = 'Pod', namespace = 'shop' },
      good 'kubernetes_event { reason = "BackOff", kind = "Pod", namespace = "shop" }')
    assert.equal('when: option "reason" is missing', wrong 'kubernetes_event { kind = "Pod" }')
    assert.equal('when.type: expected one of Warning, Normal, not "Odd"',
      wrong 'kubernetes_event { reason = "x", type = "Odd" }')
    assert.equal('when: expected kubernetes_event { reason = … }, not "x"',
      wrong 'kubernetes_event "x"')
  end)

  it('takes times', function()
    for _, text in ipairs { 'every "5m"', 'every { "5m" }' } do
      assert.same({ kind = 'every', every = 300 }, good(text))
    end
    local at = good 'every { at = "03:30", timezone = "Europe/Berlin", days = { "mon", "sun" } }'
    assert.same({ kind = 'every', at = 12600, timezone = 'Europe/Berlin', days = { 'mon', 'sun' } },
      at)
    assert.equal(7, #good('every { at = "03:30" }').days)
    assert.matches('^when: expected a duration', wrong 'every "soon"')
    assert.equal('when: expected at least 1s, not "10ms"', wrong 'every "10ms"')
    assert.equal('when: option "at" is missing', wrong 'every { days = { "mon" } }')
    assert.equal('when.at: expected a time of day such as "03:00", not "24:00"',
      wrong 'every { at = "24:00" }')
    assert.equal('unknown time zone "Mars"', wrong 'every { at = "03:00", timezone = "Mars" }')
    assert.equal('when: "days" holds no day; without it, it is every day',
      wrong 'every { at = "03:00", days = {} }')
  end)

  it('tries a plan on an event such as the trigger has', function()
    good('alert "Down" { job = "a" }', [[function(event)
      assert(event.labels.alertname == "Down" and event.labels.job == "a")
      assert(event.annotations and event.since and event.trigger == "alert")
      return {}
    end]])
    good('kubernetes_event { reason = "BackOff" }', [[function(event)
      assert(event.labels.namespace .. event.labels.name .. event.annotations.message)
      return {}
    end]])
    assert.matches('^odd: playbook "p": the plan fails on a made%-up event',
      (select(2, read('every "1h"', 'function(event) return { event.incident.labels.app } end'))))
  end)

  it('says what else it could be', function()
    assert.equal('when: expected a trigger such as incident "name", alert "Name" or metric '
      .. '{ query = … }, not "cpu"', wrong '"cpu"')
    assert.equal('when: expected a trigger such as incident "name", alert "Name" or metric '
      .. '{ query = … }, not a table', wrong 'playbook "x"')
  end)
end)
