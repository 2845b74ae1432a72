local support = require 'lua.rules.support'

after_each(support.tidy)

local SIGNAL = 'signal "a" { query = "up", detector = threshold { above = 1 } }\n'
local DURATION = 'expected a duration such as "30s", "5m" or "1h30m", not '
local ACTION = 'expected an action such as http.request { … } or verify { … }, not '

--- What is said of one declaration's fields; `%s` in the frame is where they stand.
local function says(frame, cases)
  for fields, expected in pairs(cases) do
    it(fields == '' and 'nothing at all' or fields, function()
      local problems = support.load((frame:gsub('%%s', function() return fields end)))
      if type(expected) == 'string' then expected = { expected } end
      assert.same(expected, problems)
    end)
  end
end

describe('a signal is told what is wrong with', function()
  says('signal "a" {\n%s\n}', {
    [''] = { 'r.lua:1:1: signal "a": option "detector" is missing',
      'r.lua:1:1: signal "a": option "query" is missing' },
  })

  says('signal "a" { query = "up", detector = threshold { above = 1 },\n%s\n}', {
    ['hold_fr = "5m"'] =
      'r.lua:2:1: signal "a": unknown option "hold_fr"; did you mean "hold_for"?',
    ['  zebra = 1'] = 'r.lua:2:3: signal "a": unknown option "zebra"; known are annotations, '
      .. 'detector, every, hold_for, keep_firing_for, labels, query',
    ['["for"] = "5m"'] = 'r.lua:2:1: signal "a": unknown option "for"; here it is hold_for',
    ['expr = "up"'] = 'r.lua:2:1: signal "a": unknown option "expr"; here it is query',
    ['severity = "page"'] =
      'r.lua:2:1: signal "a": unknown option "severity"; here it is labels = { severity = … }',
    ['"stray"'] = 'r.lua:2:1: signal "a": unknown option "1"; known are annotations, '
      .. 'detector, every, hold_for, keep_firing_for, labels, query',
    ['every = "5 m"'] = 'r.lua:2:1: signal "a": every: ' .. DURATION .. '"5 m"',
    ['every = "0s"'] = 'r.lua:2:1: signal "a": every: expected at least 1s, not "0s"',
    ['every = "30sec"'] = 'r.lua:2:1: signal "a": every: "sec" is no unit of time in "30sec"; '
      .. 'units are y, w, d, h, m, s, ms',
    ['hold_for = 5'] = 'r.lua:2:1: signal "a": hold_for: ' .. DURATION .. 'a number',
    ['keep_firing_for = "-1m"'] = 'r.lua:2:1: signal "a": keep_firing_for: ' .. DURATION .. '"-1m"',
    ['hold_for = {}'] = 'r.lua:2:1: signal "a": hold_for: ' .. DURATION .. 'a table',
    ['labels = "critical"'] =
      'r.lua:2:1: signal "a": labels: expected a table of names and texts, not "critical"',
    ['labels = { "critical" }'] =
      'r.lua:2:1: signal "a": labels: expected a table of names and texts, not a table',
    ['labels = { ["a-b"] = "x", __name__ = "x", ["1"] = "x" }'] = {
      'r.lua:2:12: signal "a": labels.a-b: "a-b" is not a valid label name',
      'r.lua:2:27: signal "a": labels.__name__: "__name__" is not a valid label name',
      'r.lua:2:43: signal "a": labels.1: "1" is not a valid label name' },
    ['labels = { severity = 5 }'] =
      'r.lua:2:12: signal "a": labels.severity: expected a text, not 5',
    ['labels = { a = "{{ $labels.x }" }'] =
      'r.lua:2:30: signal "a": labels.a: unexpected "}" in operand',
    ['annotations = {\n  summary = "p99 {{ humanise $value }}" }'] =
      'r.lua:3:21: signal "a": annotations.summary: function "humanise" not defined',
    ['annotations = { text = [[\nfirst\n  {{ nope }}]] }'] =
      'r.lua:4:6: signal "a": annotations.text: function "nope" not defined',
    ['annotations = { text = "{{ if }}" }'] =
      'r.lua:2:31: signal "a": annotations.text: missing value for if',
  })

  says('signal "a" { query = %s, detector = threshold { above = 1 } }', {
    ['5'] = 'r.lua:1:14: signal "a": query: expected a text, not 5',
    ['""'] = 'r.lua:1:14: signal "a": query: expected a text that is not empty',
    ['function() end'] = 'r.lua:1:14: signal "a": query: expected a text, not a function',
    ['nil'] = 'r.lua:1:1: signal "a": option "query" is missing',
  })
end)

describe('a detector is told what is wrong with', function()
  local NONE = 'expected a detector such as threshold { above = 5 }, or a function, not '
  says('signal "a" { query = "up",\ndetector = %s }', {
    ['"threshold"'] = 'r.lua:2:1: signal "a": detector: ' .. NONE .. '"threshold"',
    ['{ threshold { above = 1 } }'] = 'r.lua:2:1: signal "a": detector: ' .. NONE .. 'a table',
    ['threshold'] = 'r.lua:1: signal "a".detector is threshold without its table: threshold { … }',
    ['threshold {}'] =
      'r.lua:2:1: signal "a": detector: threshold: one of "above" and "below" is needed',
    ['threshold "1"'] =
      'r.lua:2:1: signal "a": detector: threshold: expected a table of options, not "1"',
    ['threshold { above = "1" }'] =
      'r.lua:2:24: signal "a": detector.above: threshold: expected a number, not "1"',
    ['threshold { above = 0/0 }'] =
      'r.lua:2:24: signal "a": detector.above: threshold: expected a number, not '
      .. tostring(0 / 0),
    ['z_score { histroy = "7d" }'] = 'r.lua:2:22: signal "a": detector.histroy: z_score: '
      .. 'unknown option "histroy"; did you mean "history"?',
    ['z_score { history = "7 days",\n  step = "0s", threshold = -1, direction = "up" }'] = {
      'r.lua:2:22: signal "a": detector.history: z_score: ' .. DURATION .. '"7 days"',
      'r.lua:3:3: signal "a": detector.step: z_score: expected at least 1s, not "0s"',
      'r.lua:3:16: signal "a": detector.threshold: z_score: expected a number above 0, not -1',
      'r.lua:3:32: signal "a": detector.direction: z_score: '
        .. 'expected one of both, above, below, not "up"' },
    ['z_score { history = "1y", step = "1s" }'] = 'r.lua:2:1: signal "a": detector: '
      .. 'history / step is 31536000 samples a series; at most 100000',
    ['z_score { history = "1h", step = "5m" }'] = 'r.lua:2:1: signal "a": detector: '
      .. 'history / step is 12 samples a series; at least 30 are needed',
    ['hour_of_week { timezone = "Mars/Olympus" }'] =
      'r.lua:2:1: signal "a": detector: hour_of_week: timezone: unknown time zone "Mars/Olympus"',
    ['isolation_forest { contaminaton = 0.01 }'] =
      'r.lua:2:31: signal "a": detector.contaminaton: isolation_forest: '
      .. 'unknown option "contaminaton"; did you mean "contamination"?',
    ['isolation_forest { features = "roling" }'] =
      'r.lua:2:31: signal "a": detector.features: isolation_forest: '
      .. 'unknown feature "roling"; did you mean "rolling"?',
    ['isolation_forest { features = { "value", "sd_1" } }'] =
      'r.lua:2:31: signal "a": detector.features: isolation_forest: '
      .. 'unknown feature "sd_1"; did you mean "sd_1h"?',
    ['isolation_forest { history = "1h" }'] = 'r.lua:2:1: signal "a": detector: '
      .. 'history / step is 12 samples a series; at least 100 are needed',
    ['forecast_band { interval_width = 1 }'] =
      'r.lua:2:28: signal "a": detector.interval_width: forecast_band: '
      .. 'expected a number above 0 and at most 0.9999, not 1',
    ['combine {}'] =
      'r.lua:2:1: signal "a": detector: combine: one of "all", "any" and "k_of" is needed',
    ['combine { any = {} }'] = 'r.lua:2:1: signal "a": detector: combine: "any" holds no detector',
    ['combine { threshold { above = 1 } }'] =
      'r.lua:2:22: signal "a": detector[1]: combine: unknown option "1"; known are all, any, k_of',
    ['combine { any = threshold { above = 1 } }'] =
      'r.lua:2:22: signal "a": detector.any: combine: expected a list, not a table',
    ['combine { k_of = { 3, threshold { above = 1 } } }'] = 'r.lua:2:1: signal "a": detector: '
      .. 'combine: "k_of" takes a number from 1 to 1, then detectors: k_of = { 2, …, … }',
    ['combine { any = { threshold { above = 1 }, z_score { stp = "1m" } } }'] =
      'r.lua:2:65: signal "a": detector.any[2].stp: z_score: unknown option "stp"; '
      .. 'did you mean "step"?',
    -- What looks like one, and is none: a rule can write by hand what its words build.
    ['{ kind = "detector", name = "os" }'] = 'r.lua:2:1: signal "a": detector: ' .. NONE
      .. 'a table',
    ['{ kind = "detector", name = {} }'] = 'r.lua:2:1: signal "a": detector: ' .. NONE .. 'a table',
    ['{ kind = "detector" }'] = 'r.lua:2:1: signal "a": detector: ' .. NONE .. 'a table',
    ['combine { any = { { kind = "detector", name = "types" } } }'] =
      'r.lua:2:22: signal "a": detector.any[1]: ' .. NONE .. 'a table',
    ['threshold { kind = "function", id = 1 }'] =
      'r.lua:2:1: signal "a": detector: threshold: expected a table of options, not a function',
  })
end)

describe('an incident is told what is wrong with', function()
  says(SIGNAL .. 'incident "i" {\n%s\n}', {
    [''] = 'r.lua:2:1: incident "i": option "signals" is missing',
    ['signals = "a"'] = 'r.lua:3:1: incident "i": signals: expected a list, not "a"',
    ['signals = { a = "a" }'] = 'r.lua:3:1: incident "i": signals: expected a list, not a table',
    ['signals = { "a" }'] =
      'r.lua:3:1: incident "i": signals: min_signals is 2 unless it is set, more than the number '
      .. 'of signals, 1',
    ['signals = { "a", 5 }'] = 'r.lua:3:18: incident "i": signals[2]: expected a text, not 5',
    ['signals = { "a", "a" }, min_signals = 1'] =
      'r.lua:3:18: incident "i": signals[2]: "a" is there twice',
    ['signals = { "a" },\nmin_signals = 1.5'] =
      'r.lua:4:1: incident "i": min_signals: expected a whole number of at least 1, not 1.5',
    ['signals = { "a" },\nmin_signals = 0'] =
      'r.lua:4:1: incident "i": min_signals: expected a whole number of at least 1, not 0',
  })

  says(SIGNAL .. 'incident "i" { signals = { "a" }, min_signals = 1,\n%s\n}', {
    ['within = "x"'] = 'r.lua:3:1: incident "i": within: ' .. DURATION .. '"x"',
    ['reopen_within = "1"'] = 'r.lua:3:1: incident "i": reopen_within: ' .. DURATION .. '"1"',
    ['group_by = "app"'] = 'r.lua:3:1: incident "i": group_by: expected a list, not "app"',
    ['group_by = { "app", "a-b", 5 }'] = {
      'r.lua:3:21: incident "i": group_by[2]: expected the name of a label, not "a-b"',
      'r.lua:3:28: incident "i": group_by[3]: expected the name of a label, not 5' },
    ['group_by = { app = true }'] =
      'r.lua:3:1: incident "i": group_by: expected a list, not a table',
    ['labels = { ["a b"] = "x" }'] =
      'r.lua:3:12: incident "i": labels.a b: "a b" is not a valid name here',
    ['recommend = 5'] = 'r.lua:3:1: incident "i": recommend: expected a text or a function, not 5',
    ['recommend = { kind = "function", id = 1.5 }'] =
      'r.lua:3:1: incident "i": recommend: expected a text or a function, not a function',
    ['min_signal = 1'] =
      'r.lua:3:1: incident "i": unknown option "min_signal"; did you mean "min_signals"?',
  })
end)

describe('a playbook is told what is wrong with', function()
  local TRIGGER = 'expected a trigger such as incident "name", alert "Name" or '
    .. 'metric { query = … }, not '
  says('playbook "p" {\n%s\n}', {
    [''] = 'r.lua:1:1: playbook "p": option "when" is missing: what makes it run?',
    ['when = "i"'] = 'r.lua:2:1: playbook "p": when: ' .. TRIGGER .. '"i"',
    ['when = metric "up"'] =
      'r.lua:2:1: playbook "p": when: expected metric { query = … }, not "up"',
    ['when = metric'] = 'r.lua:1: playbook "p".when is metric without its table: metric { … }',
    ['when = metric { hold_for = "x" }'] = {
      'r.lua:2:1: playbook "p": when: option "query" is missing',
      'r.lua:2:17: playbook "p": when.hold_for: ' .. DURATION .. '"x"' },
    ['when = { kind = "reference", to = "incident", name = {} }'] =
      'r.lua:2:1: playbook "p": when: ' .. TRIGGER .. 'a table',
    ['when = { kind = "trigger", name = "metric", options = 5 }'] =
      'r.lua:2:1: playbook "p": when: expected metric { query = … }, not 5',
  })

  says('playbook "p" { when = metric { query = "up" },\n%s\n}', {
    ['trust = "automatic", plan = {}'] = 'r.lua:2:1: playbook "p": trust: expected one of '
      .. 'auto, human_approve, recommend, manual_only, not "automatic"',
    ['trust = "auto"'] = 'r.lua:1:1: playbook "p": option "plan" is missing: what should it do?',
    ['trust_level = "auto"'] =
      'r.lua:2:1: playbook "p": unknown option "trust_level"; here it is trust',
    ['plan = 5'] =
      'r.lua:2:1: playbook "p": plan: expected a function or a list of actions, not 5',
    ['plan = verify { query = "up", below = 1, within = "1m" }'] = 'r.lua:2:1: playbook "p": plan: '
      .. 'expected a list of actions, not one of them: { … { … } }',
    ['plan = { "restart" }'] = 'r.lua:2:10: playbook "p": plan[1]: ' .. ACTION .. '"restart"',
    ['plan = { restart = 1 }'] =
      'r.lua:2:1: playbook "p": plan: a list of actions has no field "restart"',
    ['plan = { { kind = "action", name = "os.execute" } }'] =
      'r.lua:2:1: playbook "p": plan[1]: ' .. ACTION .. 'a table',
    ['plan = { { kind = "action", name = {} } }'] =
      'r.lua:2:1: playbook "p": plan[1]: ' .. ACTION .. 'a table',
    ['plan = { kind = "function" }'] =
      'r.lua:2:1: playbook "p": plan: expected a list of actions, not a function',
    ['plan = {}, cooldown = "x"'] = 'r.lua:2:12: playbook "p": cooldown: ' .. DURATION .. '"x"',
    ['plan = {}, approval_expires = "0s"'] =
      'r.lua:2:12: playbook "p": approval_expires: expected at least 1s, not "0s"',
    ['plan = {}, limit = 2'] = 'r.lua:2:12: playbook "p": limit: '
      .. 'expected a number of runs and a time: { 2, per = "1h" }, not 2',
    ['plan = {}, limit = { 0, per = "1h" }'] = 'r.lua:2:12: playbook "p": limit: '
      .. 'expected a number of runs and a time: { 2, per = "1h" }, not a table',
    ['plan = {}, limit = { 2, per = "1h", of = 1 }'] =
      'r.lua:2:12: playbook "p": unknown option "of"; known are per',
    ['plan = {\n  http.request { method = "post", url = "ftp://x",\n'
      .. '    headers = { Authorization = "x" }, expect_status = 20 } }'] = {
      'r.lua:3:18: playbook "p": plan[1].method: http.request: expected one of '
        .. 'GET, HEAD, POST, PUT, PATCH, DELETE, not "post"; did you mean "POST"?',
      'r.lua:3:35: playbook "p": plan[1].url: http.request: no http:// or https:// URL',
      'r.lua:4:5: playbook "p": plan[1].headers: http.request: "Authorization" is the operator\'s '
        .. 'to set, in guardrails.http; a plan holds no secret',
      'r.lua:4:40: playbook "p": plan[1].expect_status: http.request: '
        .. 'expected a whole number of at least 100 and at most 599, not 20' },
    ['plan = { verify { query = "up", below = 1, above = 2, within = "1m" } }'] = 'r.lua:2:10: '
      .. 'playbook "p": plan[1]: verify: exactly one of "below", "above" and "equals" is needed',
    ['plan = { http.request { method = "POST", url = "http://x" },\n'
      .. '  verify { query = "up", below = 1, within = "1m", otherwise = "revert" } }'] =
      'r.lua:3:52: playbook "p": plan[2].otherwise: verify: otherwise = "revert", and no action '
      .. 'before it says how it is reverted',
  })
end)

describe('a definition', function()
  it('has the defaults that are promised', function()
    local problems, warnings, set = support.load(SIGNAL .. [[
      incident "i" { signals = { "a", "b" } }
      signal "b" { query = "down", detector = function() return true end, every = "1m30s" }
      playbook "p" { when = incident "i" }
    ]])
    assert.same({ {}, {} }, { problems, warnings })
    local a, i, p = set.signals.a, set.incidents.i, set.playbooks.p
    assert.same({ 30, 0, 0, 'a', 'signal', 1 },
      { a.every, a.hold_for, a.keep_firing_for, a.name, a.kind, a.line })
    assert.equal(90, set.signals.b.every)
    assert.same({ 2, 300, 600, {}, {} },
      { i.min_signals, i.within, i.reopen_within, i.group_by, i.labels })
    assert.same({ 'manual_only', 0, 900, { kind = 'incident', name = 'i' } },
      { p.trust, p.cooldown, p.approval_expires, p.when })
  end)

  it('is learned anew when its query or detector changes, and only then', function()
    local function digest(text)
      local problems, _, set = support.load(text)
      assert.same({}, problems)
      return set.signals.a.model_digest
    end
    local one = digest 'signal "a" { query = "up", detector = z_score { threshold = 4 } }'
    assert.equal(one, digest [[-- moved

      signal "a" { every = "5s", hold_for = "1m", query = "up", labels = { a = "b" },
        detector = z_score { threshold = 4 } }]])
    for _, other in ipairs {
      'query = "up", detector = z_score { threshold = 5 }',
      'query = "down", detector = z_score { threshold = 4 }',
      'query = "up", detector = robust_z_score { threshold = 4 }',
    } do
      assert.not_equal(one, digest(('signal "a" { %s }'):format(other)))
    end
  end)

  it('keeps the labels that are the same for every series', function()
    local _, _, set = support.load [[signal "a" { query = "up", detector = threshold { above = 1 },
      labels = { severity = "page", app = "{{ $labels.app }}" } }]]
    assert.same({ severity = 'page' }, set.signals.a.constant_labels)
  end)
end)

it('a value in a label is worth a warning', function()
  for _, text in ipairs { '{{ $value }}', '{{ printf "%.0f" .Value }}' } do
    local problems, warnings = support.load(
      ("signal 'a' { query = 'up', detector = threshold { above = 1 },\nlabels = { v = '%s' } }")
      :format(text))
    assert.same({}, problems)
    assert.same({ 'r.lua:2:12: signal "a": labels.v: the value is part of this label: each new '
      .. 'value is a new alert, and hold_for starts again' }, warnings)
  end
end)
