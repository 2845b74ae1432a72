require 'fakes.daemon' -- before what requires the real one
local clock = require 'perigee.clock'
local groups = require 'engine.groups'
local json = require 'perigee.json'
local routes = require 'server.routes'
local scheduler = require 'engine.scheduler'
local support = require 'lua.engine.support'

support.still()
after_each(support.tidy)

local ONE = [[
groups:
- name: first
  interval: 1m
  limit: 7
  labels: { team: shop }
  rules:
  - record: job:q:sum
    expr: q
    labels: { kind: "1.0" }
  - alert: Hot
    expr: q
    for: 1m
    keep_firing_for: 30s
    labels: { severity: page }
    annotations: { summary: "{{ $value }} degrees" }
- name: second
  rules:
  - alert: Cold
    expr: p
    labels: { severity: "{{ $labels.s }}" }
- name: empty
]]
local TWO = 'groups: [ { name: first, rules: [ { alert: Hot, expr: r } ] } ]'
local LUA = 'signal "late" { query = "l", detector = threshold { above = 1 } }'

--- An engine whose groups were evaluated now, and one who asks it.
local function world(answers)
  local engine = support.engine { rules = { ['one.yaml'] = ONE, ['two.yml'] = TWO,
    ['z.lua'] = LUA } }
  for query, answer in pairs(answers or {}) do engine.source.answers[query] = answer end
  for _, job in ipairs(answers and scheduler.jobs(engine.rules) or {}) do
    if job.evaluate then groups.evaluate(engine, job, clock.now()) end
  end
  local handle = routes.handler(engine)
  return function(path, query)
    local response = handle { method = 'GET', path = path, query = query or '', body = '',
      peer = '127.0.0.1', headers = { host = '127.0.0.1:9747' } }
    if path:find '^/metrics' then return response.body, response.headers['Content-Type'] end
    local answer = json.decode(response.body)
    return answer.data, response.status, answer.error
  end, engine
end

--- What is left of all groups, as "file group: rule rule".
local function shown(query)
  local data = world()('/api/v1/rules', query)
  local out = {}
  for i, group in ipairs(data.groups) do
    local names = {}
    for n, rule in ipairs(group.rules) do names[n] = rule.name end
    out[i] = ('%s %s: %s'):format(group.file:match '[^/]+$', group.name, table.concat(names, ' '))
  end
  return out
end

describe('/api/v1/rules', function()
  it('shows rule groups as Prometheus does', function()
    local get, engine = world { q = { { { a = 'b' }, 21.5 } }, p = { message = 'no', kind = 'x' } }
    local group = get('/api/v1/rules').groups[2]
    local now = clock.text(clock.now())
    assert.same({ 'first', engine.rules.files[1].path, 60, 7, now }, { group.name, group.file,
      group.interval, group.limit, group.lastEvaluation })
    local record, alert = table.unpack(group.rules)
    record.evaluationTime, alert.evaluationTime = nil, nil
    assert.same({ type = 'recording', name = 'job:q:sum', query = 'q', health = 'ok',
      labels = { team = 'shop', kind = '1.0' }, lastEvaluation = now }, record)
    assert.same({ type = 'alerting', name = 'Hot', query = 'q', duration = 60, keepFiringFor = 30,
      labels = { team = 'shop', severity = 'page' }, state = 'pending', health = 'ok',
      annotations = { summary = '{{ $value }} degrees' }, lastEvaluation = now,
      alerts = { { labels = { alertname = 'Hot', a = 'b', team = 'shop', severity = 'page' },
        annotations = { summary = '21.5 degrees' }, state = 'pending', activeAt = now,
        value = '2.15e+01' } } }, alert)
    local cold = get('/api/v1/rules').groups[3].rules[1]
    assert.same({ 'inactive', 'err', 'no (x)' }, { cold.state, cold.health, cold.lastError })
  end)

  it('and what was never evaluated is unknown', function()
    local get = world()
    local group = get('/api/v1/rules').groups[2]
    assert.same({ '0001-01-01T00:00:00Z', 'unknown', 'unknown', 'unknown' }, {
      group.lastEvaluation, group.rules[1].health, group.rules[2].health, group.rules[2].state })
  end)

  it('is filtered by type, names, groups, files and labels', function()
    local all = { 'one.yaml empty: ', 'one.yaml first: job:q:sum Hot', 'one.yaml second: Cold',
      'two.yml first: Hot', 'z.lua z.lua: late' }
    assert.same(all, shown '')
    assert.same({ all[1], 'one.yaml first: job:q:sum' }, shown 'type=record')
    assert.same({ all[1], 'one.yaml first: Hot', all[3], all[4], all[5] }, shown 'type=alert')
    assert.same({ all[1], all[3], all[5] }, shown 'rule_name[]=Cold&rule_name%5B%5D=late')
    assert.same({ all[2], all[4] }, shown 'rule_group[]=first')
    assert.same({ 'one.yaml first: Hot' }, shown
      'rule_group[]=first&match[]=%7Bseverity=~%22pa.*%22%7D&rule_name[]=Hot')
    assert.same({ all[1], 'one.yaml first: Hot', all[3] },
      shown 'match[]={severity=%22page%22}&match[]={severity=~%22.*labels.*%22}')
    assert.same({}, shown 'file[]=one.yaml')
    local get, engine = world()
    assert.equal(1, #get('/api/v1/rules', 'file[]=' .. engine.rules.files[2].path).groups)
  end)

  it('comes without alerts, when asked to', function()
    local get = world { q = { { { a = 'b' }, 1 } } }
    for text, n in pairs { ['true'] = 0, ['1'] = 0, ['false'] = 1 } do
      local group = get('/api/v1/rules', 'exclude_alerts=' .. text).groups[2]
      assert.equal(n, #group.rules[2].alerts)
    end
  end)

  it('comes in pages', function()
    local get = world()
    local seen, token = {}, nil
    repeat
      local data = get('/api/v1/rules', 'group_limit=2' .. (token and '&group_next_token=' .. token
        or ''))
      assert.is_true(#data.groups <= 2)
      for _, group in ipairs(data.groups) do seen[#seen + 1] = group.name end
      token = data.groupNextToken
    until not token
    assert.same({ 'empty', 'first', 'second', 'first', 'z.lua' }, seen)
  end)

  it('refuses what it cannot read', function()
    local get = world()
    for _, query in ipairs { 'type=x', 'match[]=rate(x)', 'exclude_alerts=x', 'group_limit=0',
      'group_limit=x', 'group_next_token=abc', 'group_limit=1&group_next_token=abc' } do
      local data, status, message = get('/api/v1/rules', query)
      assert.same({ nil, 400, 'string' }, { data, status, type(message) }, query)
    end
  end)
end)

describe('/api/v1/alerts', function()
  it('lists the alerts of rule groups', function()
    local get = world { q = { { { a = 'b' }, 1 }, { { a = 'c' }, 0 / 0 } } }
    local out = {}
    for i, alert in ipairs(get('/api/v1/alerts').alerts) do
      out[i] = { alert.labels.a, alert.state, alert.value }
    end
    assert.same({ { 'b', 'pending', '1e+00' }, { 'c', 'pending', 'NaN' } }, out)
  end)
end)

describe('/api/v1/status', function()
  it('counts groups and alerts, and names the rules that fail', function()
    local get, engine = world { q = { { { a = 'b' }, 1 } }, p = { message = 'no', kind = 'x' },
      r = { { { a = 'b' }, 1 } } }
    local data = get '/api/v1/status'
    assert.same({ 4, { firing = 1, pending = 1 } }, { data.rule_groups, data.alerts })
    assert.same({ { rule = 'alert/Cold', group = 'second', file = engine.rules.files[1].path,
      reason = 'no (x)' } }, data.rules_failing)
  end)
end)

describe('/metrics/rules', function()
  it('has ALERTS, ALERTS_FOR_STATE and what was recorded', function()
    local get = world { q = { { { a = 'b"\n\\' }, 2 }, { { ['x.y'] = 'no' }, 3 } },
      p = { { { s = 'info' }, 1 } } }
    local text, kind = get '/metrics/rules'
    assert.equal('text/plain; version=0.0.4; charset=utf-8', kind)
    assert.equal([[
# TYPE ALERTS gauge
ALERTS{a="b\"\n\\",alertname="Hot",alertstate="pending",severity="page",team="shop"} 1
ALERTS{alertname="Cold",alertstate="firing",s="info",severity="info"} 1
# TYPE ALERTS_FOR_STATE gauge
ALERTS_FOR_STATE{a="b\"\n\\",alertname="Hot",severity="page",team="shop"} 1700000000
ALERTS_FOR_STATE{alertname="Cold",s="info",severity="info"} 1700000000
# TYPE job:q:sum untyped
job:q:sum{a="b\"\n\\",kind="1.0",team="shop"} 2
]], text)
  end)

  it('has nothing that is older than Prometheus looks back', function()
    local get = world { q = { { {}, 2 } } }
    clock.advance(299)
    assert.matches('job:q:sum', get '/metrics/rules')
    clock.advance(1)
    assert.not_matches('job:q:sum', get '/metrics/rules')
    assert.equal('', world()('/metrics/rules'))
  end)
end)
