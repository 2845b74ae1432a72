--- Rule groups from end to end: what a real Prometheus makes of the same files, and what a real
--- Alertmanager is told.
local clock = require 'perigee.clock'
local json = require 'json'
local prometheus = require 'prometheus'
local testing = require 'testing.world'
local world = require 'e2e.world'

--- Rules that show everything that both know; %d is a time that begins something.
local RULES = [[
groups:
- name: lives
  interval: 1s
  rules:
  - alert: Always
    expr: vector(2) > 1
    labels: { severity: page, version: 1.10, none: "" }
    annotations:
      summary: "{{ $value }} of {{ $labels.nobody }}"
      now: '{{ query "vector(7)" | first | value }}'
  - alert: Waits
    expr: load > 0
    for: 1h
    labels: { app: "{{ $labels.app }}{{ $labels.app }}" }
  - alert: Scalar
    expr: scalar(vector(3))
  - alert: Broken
    expr: load > 0
    annotations: { summary: '{{ first (query "nothing") }}' }
  - alert: Later
    expr: vector(time()) >= %d < %d
    for: 1s
    keep_firing_for: 1s
  - alert: Never
    expr: load < 0
  - record: app:load:double
    expr: load * 2
    labels: { kind: double }
- name: errors
  interval: 1s
  limit: 1
  rules:
  - alert: Twins
    expr: load > 0
    labels: { app: "" }
  - alert: TooMany
    expr: load > 0
  - record: too:many
    expr: load > 0
  - alert: Impossible
    expr: load * on () load
- name: empty
]]

--- Rules that Prometheus has not, and how it comes by what they record.
local ONLY <const> = 'groups: [ { name: o, rules: [ { record: "only:here", expr: load * 3 } ] } ]'
local JOB <const> = [[
  - { job_name: perigee-rules, honor_labels: true, metrics_path: /metrics/rules,
      static_configs: [ { targets: ["127.0.0.1:%d"] } ] }
]]

--- What both tell of their rules, without what differs: times, errors' words, the expression, which
--- Prometheus writes anew, and the column of a template's error, for Prometheus adds to the text.
local function shape(answer)
  local out = {}
  for _, group in ipairs(answer.groups) do
    out[#out + 1] = ('%s %g %d'):format(group.name, group.interval, group.limit)
    for _, rule in ipairs(group.rules) do
      local alerts = {}
      for i, alert in ipairs(rule.alerts or {}) do
        alerts[i] = json.encode { alert.labels, alert.annotations, alert.state, alert.value }
        alerts[i] = alerts[i]:gsub('(__alert_%w+:1):%d+', '%1')
      end
      table.sort(alerts)
      out[#out + 1] = json.encode { rule.type, rule.name, rule.duration or 0,
        rule.keepFiringFor or 0, rule.labels or {}, rule.annotations or {}, rule.state or '',
        rule.health, rule.lastError ~= nil, alerts }
    end
  end
  return out
end

describe('rule groups beside a real Prometheus and a real Alertmanager', function()
  local w, target, url, child, client, told, p
  setup(function()
    w, told = world.new(), {}
    target = w:gauge { a = 1, b = 2 }
    w:write('rules.d/first.yaml', 'groups: []\n')
    local hook = w:serve(function(request)
      for _, alert in ipairs(json.decode(request.body).alerts) do told[#told + 1] = alert end
      return {}
    end)
    local port = testing.free_port()
    url = ('http://127.0.0.1:%d'):format(port)
    p = w:configure { source = url, rules = { ['only.yaml'] = ONLY },
      config = ('evaluation_interval: 1s\nexternal_labels: { site: here }\n'
        .. 'alertmanager: { url: "%s" }\n'):format(w:alertmanager(('http://127.0.0.1:%d'):format(
        hook))) }
    child = select(2, w:prometheus { port = port, targets = { target }, jobs = JOB:format(p.port),
      more = 'rule_files: [ rules.d/*.yaml ]\n' })
    p:start()
    client = prometheus.client { url = url }
    w:wait_for('samples', 15, function() return #client:query 'load' == 2 end)
  end)
  teardown(function()
    w:close()
  end)

  --- Adds the state of an alert where it is another than before.
  local function watch(answer, states)
    for _, alert in ipairs(answer.alerts) do
      if alert.labels.alertname == 'Later' and states[#states] ~= alert.state then
        states[#states + 1], states.active_at = alert.state, alert.activeAt
      end
    end
  end

  it('evaluate as Prometheus does', function()
    local begins = os.time() + 3
    local text = RULES:format(begins, begins + 3)
    w:write('rules.d/rules.yaml', text)
    p:set_rules('rules.yaml', text)
    child:kill(1)
    p.child:kill(1)
    local ours, theirs = {}, {}
    w:wait_for('what begins and ends', 20, function()
      watch(p:get '/api/v1/alerts', ours)
      watch(client:get 'alerts', theirs)
      return os.time() > begins + 6
    end)
    assert.same({ 'pending', 'firing' }, { table.unpack(ours) })
    assert.same({ table.unpack(theirs) }, { table.unpack(ours) })
    -- Both on a grid of a second, which lies elsewhere within the second.
    local second = clock.text(begins):sub(1, 19)
    assert.same({ second, second }, { ours.active_at:sub(1, 19), theirs.active_at:sub(1, 19) })
    for _, kind in ipairs { 'alert', 'record' } do
      assert.same(shape(client:get('rules', { type = kind })), shape(p:get(
        ('/api/v1/rules?type=%s&file[]=%s/rules/rules.yaml'):format(kind, p.folder))))
    end
  end)

  it('leave what they recorded, and ALERTS, for Prometheus to scrape', function()
    local recorded = assert(client:query 'app:load:double')
    local alerts = assert(client:query 'ALERTS{alertname!="Later",job!="perigee-rules"}')
    local page = assert(testing.get(p.url .. '/metrics/rules'))
    for _, s in ipairs(recorded) do
      s.labels.__name__ = nil
      assert.truthy(page:find(('app:load:double{%s} %g\n'):format(
        prometheus.labels_text(s.labels), s.value), 1, true), page)
    end
    assert.equal(2, #recorded)
    local scraped = w:wait_for('what Prometheus has scraped', 10, function()
      local found = client:query 'only:here'
      return found and #found == 2 and found
    end)
    for _, s in ipairs(scraped) do assert.equal(target, s.labels.instance) end
    assert.is_true(#alerts >= 6)
    for _, s in ipairs(alerts) do
      s.labels.__name__ = nil
      assert.truthy(page:find(('ALERTS{%s} 1\n'):format(prometheus.labels_text(s.labels)), 1, true),
        page)
    end
  end)

  it('tell Alertmanager of what fires, and when it is over', function()
    local seen = {}
    w:wait_for('the webhook', 15, function()
      for _, alert in ipairs(told) do
        if alert.labels.alertname == 'Later' then seen[alert.status] = alert end
        assert.not_equal('Waits', alert.labels.alertname)
      end
      return seen.resolved
    end)
    assert.same({ alertname = 'Later', site = 'here' }, seen.resolved.labels)
    assert.equal(seen.firing.startsAt, seen.resolved.startsAt)
    assert.is_true(seen.resolved.startsAt < seen.resolved.endsAt)
    w:wait_for('the others', 5, function()
      for _, alert in ipairs(told) do
        if alert.labels.alertname == 'Always' then
          assert.same({ alertname = 'Always', severity = 'page', site = 'here', version = '1.10' },
            alert.labels)
          assert.same({ summary = '2 of ', now = '7' }, alert.annotations)
          return true
        end
      end
    end)
    assert.is_true(p:metric 'perigee_notifications_sent_total' >= 5)
    assert.equal(0, p:metric 'perigee_notifications_errors_total')
  end)

  it('are where they were after kill -9, and resolved when they are removed', function()
    local function alerts()
      local out = {}
      for _, alert in ipairs(p:get('/api/v1/alerts').alerts) do
        out[#out + 1] = json.encode { alert.labels, alert.state, alert.activeAt }
      end
      return out
    end
    local before = alerts()
    assert.is_true(#before >= 6)
    p:stop(9)
    p:start()
    assert.same(before, alerts())
    p:set_rules('rules.yaml', nil)
    p.child:kill(1)
    w:wait_for('the end of them', 10, function()
      for _, alert in ipairs(told) do
        if alert.labels.alertname == 'Always' and alert.status == 'resolved' then return true end
      end
    end)
    assert.same({}, alerts())
  end)
end)
