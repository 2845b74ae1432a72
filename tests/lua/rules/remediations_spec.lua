local config = require 'config'
local file = require 'perigee.file'
local load_rules = require 'rules.load'
local consider_firing = require('engine.playbooks').consider_firing
local plans = require 'engine.plans'
local promql = require 'rules.promql'
local support = require 'lua.engine.support'

local SEEDS <const> = '../shared/seeds/000_5176c5c3da204663.txt'

local folder
setup(function() folder = assert(file.temporary_folder 'perigee-remediations') end)
teardown(function() os.execute(("rm -rf '%s'"):format(folder)) end)

--- Loads a text; its playbooks, what is wrong and what is odd, each as lines.
local function read(text)
  local path = folder .. '/r.yaml'
  assert(file.write(path, text))
  local set, problems, warnings = load_rules.load({ path }, { every = 30, limits = {} })
  local function words(list)
    local out = {}
    for i, p in ipairs(list) do out[i] = config.problem_text(p):gsub('^.*/r%.yaml:', '') end
    return table.concat(out, '\n')
  end
  return set.playbooks, words(problems), words(warnings)
end

--- What a playbook plans for a series of these labels, as data.
local function planned(def, labels)
  local list, failure = def.resolve({}, { labels = labels })
  return list and { list[1].name, list[1].options } or failure.message
end

local SHOP = { namespace = 'shop', deployment = 'checkout', pod = 'checkout-1' }

--- The three remediations as the user wrote them: what is common to their forms.
local function check_the_three(playbooks)
  local restart, scale = playbooks['pod-restart'], playbooks['horizontal-scale']
  local rollback = playbooks['rollback-deployment']
  assert.same({ 'auto', 'auto', 'human_approve' }, { restart.trust, scale.trust, rollback.trust })
  assert.same({ 300, 600 }, { restart.when.hold_for, scale.when.hold_for })
  assert.same({ kind = 'alert', name = 'HighErrorRate', labels = {} }, rollback.when)
  assert.same({ 'kubernetes.restart', { namespace = 'shop', pod = 'checkout-1' } },
    planned(restart, SHOP))
  assert.same({ 'kubernetes.scale', { namespace = 'shop', deployment = 'checkout', min = 2,
    max = 10, increment = 2 } }, planned(scale, SHOP))
  assert.same({ 'kubernetes.rollback', { namespace = 'shop', deployment = 'checkout',
    revisions_back = 1 } }, planned(rollback, SHOP))
  assert.equal('the label "namespace" is missing: in which namespace is it?', planned(scale, {}))
end

describe('remediations', function()
  it('of the user load as they are, in their ConfigMap, comments and all', function()
    local text = file.read(SEEDS, 1 << 20)
    if not text then return pending 'the examples beside this folder are not there' end
    local yaml = text:match '# auto%-remediation%-operator%.yaml\n(.-)\n```'
    local playbooks, wrong, odd = read(yaml)
    assert.equal('', wrong)
    assert.equal('22:11: remediation "horizontal-scale": trigger.query: '
      .. 'container_cpu_usage_seconds_total is a counter by its name, and only grows: is '
      .. 'rate(container_cpu_usage_seconds_total[5m]) meant?\n'
      .. '22:11: remediation "horizontal-scale": trigger.query: the query leaves no label '
      .. '"namespace": what is to be acted on cannot be known, and its plans will be blocked',
      (odd:gsub('\n%d+:%d+:', '\n22:11:'):gsub('^%d+:%d+:', '22:11:')))
    check_the_three(playbooks)
    assert.equal('container_memory_usage_bytes > 0.9 * container_spec_memory_limit_bytes',
      playbooks['pod-restart'].when.query)
    assert.equal(30, playbooks['pod-restart'].when.every)
  end)

  it('that are shipped are those, mended, with nothing odd about them', function()
    local playbooks, wrong, odd = read((assert(file.read('rules/remediations.yaml', 1 << 20))))
    assert.equal('', wrong .. odd)
    check_the_three(playbooks)
  end)

  it('without a trust level are for people alone, and an unknown one is an error', function()
    local ITEM = 'remediations: [ { name: a, trigger: { type: event, alert: A }, '
      .. 'action: { type: restart, target: pod }%s } ]'
    assert.equal('manual_only', read(ITEM:format '').a.trust)
    for _, level in ipairs { 'auto', 'human_approve', 'recommend', 'manual_only' } do
      assert.equal(level, read(ITEM:format(', trust_level: ' .. level)).a.trust)
    end
    local _, wrong = read(ITEM:format ', trust_level: human_aprove')
    assert.equal('1:104: remediation "a": trust_level: expected one of auto, human_approve, '
      .. 'recommend, manual_only, not "human_aprove"; did you mean "human_approve"?', wrong)
  end)

  it('tell every mistake at its place', function()
    local _, wrong = read [[
remediations:
  - name: a
    trigger: { type: metrics, query: up }
    action: { type: restart, target: pod }
  - name: b
    trigger: { type: metric, querry: up }
    action: { type: restart, target: pods, min: 1 }
  - trigger: { type: event, source: kafka }
    action: { type: scale, target: daemonset, min: 9, max: 2 }
  - name: d
    trigger: { type: metric, query: "up(", duration: soon }
    action: { target: pod }
  - name: e
    trigger: { type: metric, query: up }
    action: { type: scale, target: deployment, min: 5, max: 2 }
  - 7
  - name: f
    trigger: 5
  - name: g
    trigger: { type: event, alert: A }
    action: { type: rollback, target: deployment, revisions_back: 0, namespace: "../kube-system" }
other: 1
]]
    local lines = {}
    for line in wrong:gmatch '[^\n]+' do lines[#lines + 1] = line end
    assert.same({
      '3:16: remediation "a": trigger.type: expected one of event, metric, not "metrics"; did you '
        .. 'mean "metric"?',
      '6:5: remediation "b": trigger: the key "query" is missing',
      '6:30: remediation "b": unknown key "querry"; did you mean "query"?',
      '7:30: remediation "b": action.target: expected one of pod, deployment, statefulset, '
        .. 'daemonset, not "pods"; did you mean "pod"?',
      '7:44: remediation "b": unknown key "min"; known are name, namespace, target, type',
      '8:5: remediation 3: the key "name" is missing',
      '8:5: remediation 3: trigger: the key "alert" is missing',
      '8:29: remediation 3: trigger.source: expected one of prometheus, not "kafka"',
      '9:28: remediation 3: action.target: expected one of deployment, statefulset, not '
        .. '"daemonset"',
      '11:30: remediation "d": trigger.query: "(" is not closed',
      '11:44: remediation "d": trigger.duration: expected a duration such as "30s", "5m" or '
        .. '"1h30m", not "soon"',
      '12:5: remediation "d": action: the key "type" is missing: one of restart, rollback, scale',
      '15:5: remediation "e": action: min is 5, more than max, 2',
      '16:5: remediation 6: expected name, trigger, action and trust_level, not 7',
      '17:5: remediation "f": the key "action" is missing',
      '18:5: remediation "f": trigger: expected keys and values, not 5',
      '21:70: remediation "g": action.namespace: expected the name of a namespace, not '
        .. '"../kube-system"',
      '22:1: unknown key "other"; known are remediations',
    }, lines)
  end)

  it('have names of their own, also among the playbooks of Lua files', function()
    local _, wrong = read [[
remediations:
  - { name: a, trigger: { type: event, alert: A }, action: { type: restart, target: pod } }
  - { name: a, trigger: { type: event, alert: A }, action: { type: restart, target: pod } }
]]
    assert.equal('3:7: remediation "a": name: the file has another of this name', wrong)
  end)
end)

describe('a remediation', function()
  after_each(support.tidy)

  local ITEM = [[
remediations:
  - name: more
    trigger: { type: metric, query: "busy > 0.8" }
    action: { type: scale, target: deployment }
    trust_level: %s
]]

  local function fire(trust, ...)
    local engine = support.engine { rules = { ['r.yaml'] = ITEM:format(trust) } }
    local series = {}
    for i, labels in ipairs { ... } do
      series[i] = { labels = labels, annotations = {}, state = 'firing', value = 1, fired_at = 5 }
    end
    consider_firing(engine, engine.rules.playbooks.more, { series = series })
    consider_firing(engine, engine.rules.playbooks.more, { series = series })
    return plans.list(engine.store, 10)
  end

  it('whose labels do not say what it acts on makes a plan that is blocked and names the label',
    function()
      local list = fire('auto', {})
      assert.equal(1, #list)
      assert.equal('blocked', list[1].state)
      assert.equal('the label "namespace" is missing: in which namespace is it?', list[1].reason)
      assert.same({}, list[1].actions)
    end)

  it('makes a plan for each series, for its own object', function()
    local list = fire('human_approve', { namespace = 'shop', deployment = 'a' },
      { namespace = 'shop', deployment = 'b' }, { namespace = 'shop' })
    local of = {}
    for _, p in ipairs(list) do
      of[p.actions[1] and p.actions[1].args.deployment or 'none'] = p.reason
    end
    assert.equal('the label "deployment" is missing: which deployment is it? "pod" would tell, too',
      of.none)
    assert.matches('no cluster is configured', of.a)
    assert.matches('no cluster is configured', of.b)
  end)

  it('that is for people alone makes none', function()
    assert.equal(0, #fire('manual_only', { namespace = 'shop', deployment = 'a' }))
  end)
end)

describe('what a query leaves', function()
  it('is told where it is an aggregation', function()
    local function left(expr)
      local found = promql.labels_left(expr)
      if not found then return 'anything' end
      local names = {}
      for name in pairs(found) do names[#names + 1] = name end
      table.sort(names)
      return table.concat(names, ' ')
    end
    for expr, names in pairs {
      ['avg(x) > 0.8'] = '', ['avg by (a, b) (x) > 0.8'] = 'a b', ['sum(x) by(a)'] = 'a',
      ['(sum(x)) / 2'] = '', ['SUM(rate(x_total[5m]))'] = '',
      ['avg without (a) (x)'] = 'anything', ['x > 1'] = 'anything', ['rate(x[5m])'] = 'anything',
      ['sum(x) * on (a) group_left(b) y'] = 'anything', ['topk(3, x)'] = 'anything',
      ['avg_over_time(x[1h])'] = 'anything', ['sum by (a) (x) # by (b)\n > 1'] = 'a',
    } do
      assert.equal(names, left(expr), expr)
    end
  end)

  it('and a counter that is used as a gauge', function()
    assert.equal('x_total', promql.bare_counter 'avg(x_total{a="b"}) > 1')
    assert.equal('x_total', promql.bare_counter 'x_total > 5')
    assert.is_nil(promql.bare_counter 'sum(rate(x_total[5m])) > increase( y_total[1h])')
    assert.is_nil(promql.bare_counter 'x_totals > 5')
  end)
end)
