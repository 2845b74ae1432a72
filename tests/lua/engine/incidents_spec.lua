local audit = require 'engine.audit'
local clock = require 'perigee.clock'
local incidents = require 'engine.incidents'
local json = require 'perigee.json'
local label_key = require('prometheus').label_key
local metrics = require 'engine.metrics'
local support = require 'lua.engine.support'

local RULES = [[
local odd = threshold { above = 1 }
signal "latency" { query = "latency", detector = odd }
signal "errors" { query = "errors", detector = odd }
signal "cpu" { query = "cpu", detector = odd, labels = { app = "shop" } }
incident "degraded" {
  signals = { "latency", "errors", "cpu" }, min_signals = 2, within = "5m",
  group_by = { "namespace", "app" }, reopen_within = "10m",
  labels = { team = "web", app = "of the declaration" },
  recommend = function(incident)
    if incident.labels.app == "faulty" then error("no idea") end
    if incident.labels.app == "number" then return 7 end
    return "roll back " .. incident.labels.app .. ", " .. incident.anomaly_count .. " odd"
  end,
}
incident "quiet" { signals = { "latency", "cpu" }, min_signals = 2 }
]]

local SHOP = { namespace = 'prod', app = 'shop' }

--- A world of one engine: fire() and calm() change a series of a signal and converge.
local function world(rules)
  local engine = support.engine { rules = rules or RULES }
  local w = { engine = engine, series = {} }

  local function set(signal, labels, change)
    w.series[signal] = w.series[signal] or {}
    local key = label_key(labels)
    local s = w.series[signal][key] or { labels = labels, state = 'inactive', annotations = {} }
    for k, v in pairs(change) do s[k] = v end
    if change.firing_to == nil then s.firing_to = nil end
    w.series[signal][key] = s
    engine.store:exec('insert or replace into signals (name, state, health) values (?, ?, ?)',
      signal, json.encode { series = w.series[signal] }, 'ok')
  end

  function w.store_firing(signal, labels, more)
    local change = { state = 'firing', firing_from = clock.now(), value = 9, reason = 'odd',
      condition = 'anomaly' }
    for k, v in pairs(more or {}) do change[k] = v end
    set(signal, labels or SHOP, change)
  end

  function w.converge()
    for _, name in ipairs { 'degraded', 'quiet' } do
      local def = engine.rules.incidents[name]
      if def then incidents.converge(engine, def) end
    end
  end

  function w.fire(...)
    w.store_firing(...)
    w.converge()
  end

  function w.calm(signal, labels)
    set(signal, labels or SHOP, { state = 'inactive', firing_to = clock.now(), condition = 'ok' })
    w.converge()
  end

  function w.active() return incidents.active(engine.store) end
  function w.all() return incidents.list(engine.store, 1000) end
  return w
end

local function of_name(list, name)
  local out = {}
  for _, incident in ipairs(list) do
    if incident.name == name then out[#out + 1] = incident end
  end
  return out
end

describe('an incident', function()
  support.still()
  after_each(support.tidy)

  it('opens when min_signals different signals fire, and not before', function()
    local w = world()
    w.fire('latency', { namespace = 'prod', app = 'shop', pod = 'a' })
    w.fire('latency', { namespace = 'prod', app = 'shop', pod = 'b' })
    assert.equal(0, #w.active())
    w.fire('errors')
    local incident = w.active()[1]
    assert.same({ 'degraded', 'open', 3 }, { incident.name, incident.state, #incident.anomalies })
    assert.same({ namespace = 'prod', app = 'shop', team = 'web' }, incident.labels)
    assert.same({ 'incident_opened' }, support.kinds(w.engine))
    assert.equal(1, #w.all())
  end)

  it('opens with signals that fired one after the other, within the time', function()
    local w = world()
    w.fire 'latency'
    clock.advance(60)
    w.calm 'latency'
    clock.advance(299)
    w.fire 'errors'
    assert.equal(1, #w.active())
    local other = world()
    other.fire 'latency'
    other.calm 'latency'
    clock.advance(301)
    other.fire 'errors'
    assert.equal(0, #other.active())
  end)

  it('is one a group, and the declaration\'s labels help to find it', function()
    local w = world()
    w.fire('latency', { namespace = 'prod', app = 'shop' })
    w.fire('cpu', { namespace = 'prod' })
    w.fire('errors', { namespace = 'test', app = 'shop' })
    assert.equal(1, #of_name(w.active(), 'degraded'))
    w.fire('latency', { namespace = 'test', app = 'shop' })
    local names = {}
    for _, i in ipairs(of_name(w.active(), 'degraded')) do names[i.labels.namespace] = i.id end
    assert.truthy(names.prod and names.test and names.prod ~= names.test)
  end)

  it('says what the rule recommends', function()
    local w = world()
    w.fire 'latency'
    w.fire 'errors'
    assert.equal('roll back shop, 2 odd', w.active()[1].recommendation)
  end)

  it('says where to look when the rule\'s function fails or returns no text', function()
    for _, app in ipairs { 'faulty', 'number' } do
      local w = world()
      local labels = { namespace = 'prod', app = app }
      local before = metrics.rule_faults:value('incident/degraded', 'error')
      w.fire('latency', labels)
      w.fire('errors', labels)
      assert.equal('Look at errors, latency', w.active()[1].recommendation)
      assert.equal(app == 'faulty' and 1 or 0,
        metrics.rule_faults:value('incident/degraded', 'error') - before)
    end
  end)

  it('says what the rule recommends also when thousands of series are odd', function()
    local w = world((RULES:gsub('group_by = {[^}]*}', 'group_by = {}')))
    for _, signal in ipairs { 'errors', 'latency' } do
      local series = {}
      for i = 1, 2000 do
        local labels = { app = 'shop', pod = 'shop-' .. i, node = 'n', zone = 'z', team = 't' }
        series[label_key(labels)] = { labels = labels, state = 'firing', value = 9,
          firing_from = clock.now(), reason = 'odd', anomaly_score = 9, confidence = 99 }
      end
      w.engine.store:exec('insert into signals (name, state, health) values (?, ?, ?)', signal,
        json.encode { series = series }, 'ok')
    end
    incidents.converge(w.engine, w.engine.rules.incidents.degraded)
    assert.equal('roll back of the declaration, 4000 odd', w.active()[1].recommendation)
    assert.equal(4000, #w.active()[1].anomalies)
  end)

  it('does not ask the rule\'s function again after three faults running', function()
    local w = world()
    local function open(app, pod)
      local labels = { namespace = pod, app = app }
      w.fire('latency', labels)
      w.fire('errors', labels)
      for _, i in ipairs(w.active()) do
        if i.labels.namespace == pod then return i.recommendation end
      end
    end
    assert.equal('Look at errors, latency', open('faulty', 'a'))
    assert.equal('Look at errors, latency', open('faulty', 'b'))
    assert.equal('roll back shop, 2 odd', open('shop', 'c')) -- and the count begins anew
    for i = 1, 3 do open('faulty', 'd' .. i) end
    assert.equal('Look at errors, latency', open('shop', 'e'))
    local off = 0
    for _, kind in ipairs(support.kinds(w.engine)) do
      if kind == 'rule_switched_off' then off = off + 1 end
    end
    assert.equal(1, off)
  end)

  it('counts the signals of another incident for that one too', function()
    local w = world()
    w.fire 'latency'
    w.fire 'cpu'
    local names = {}
    for i, incident in ipairs(w.active()) do names[i] = incident.name end
    table.sort(names)
    assert.same({ 'degraded', 'quiet' }, names)
  end)
end)

describe('an open incident', function()
  it('grows with what turns odd later, and keeps what was', function()
    local w = world()
    w.fire 'latency'
    w.fire 'errors'
    clock.advance(10)
    w.calm 'latency'
    w.fire 'cpu'
    local anomalies = w.active()[1].anomalies
    assert.same({ 'errors', 'latency', 'cpu' },
      { anomalies[1].signal, anomalies[2].signal, anomalies[3].signal })
    assert.same({ true, false, true },
      { anomalies[1].is_anomaly, anomalies[2].is_anomaly, anomalies[3].is_anomaly })
    assert.same({ 'incident_opened', 'incident_opened' }, support.kinds(w.engine))
  end)

  it('stays while one of its series fires, and is resolved with the last', function()
    local w = world()
    w.fire 'latency'
    w.fire 'errors'
    w.calm 'errors'
    assert.equal('open', w.active()[1].state)
    clock.advance(30)
    w.calm 'latency'
    local incident = w.all()[1]
    assert.same({ 'resolved', clock.now() }, { incident.state, incident.resolved_at })
    for _, a in ipairs(incident.anomalies) do assert.is_false(a.is_anomaly) end
  end)

  it('is acknowledged by a person, also while it is being mitigated', function()
    local w = world()
    w.fire 'latency'
    w.fire 'errors'
    local id = w.active()[1].id
    assert.equal('acknowledged', incidents.acknowledge(w.engine, id, 'alice').state)
    incidents.set_state(w.engine, id, 'mitigating')
    local again = incidents.acknowledge(w.engine, id, 'bob')
    assert.same({ 'mitigating', 'bob' }, { again.state, again.acknowledged_by })
    w.calm 'latency'
    w.calm 'errors'
    local nobody, message = incidents.acknowledge(w.engine, id, 'alice')
    assert.same({ [2] = 'the incident is resolved' }, { nobody, message })
    nobody, message = incidents.acknowledge(w.engine, 'inc-0', 'alice')
    assert.same({ [2] = 'there is no such incident' }, { nobody, message })
  end)

  it('writes nothing when nothing has changed', function()
    local w = world()
    w.fire 'latency'
    w.fire 'errors'
    local function updated()
      return w.engine.store:row('select updated_at from incidents').updated_at
    end
    local before = updated()
    clock.advance(10)
    w.converge()
    assert.equal(before, updated())
  end)

  it('no longer rests on partial data once whole answers come, and is offered anew', function()
    local w = world()
    w.fire('latency', SHOP, { partial = true })
    w.fire 'errors'
    local incident = w.active()[1]
    assert.is_true(incident.partial)
    incidents.mark_considered(w.engine.store, incident, 'refused', true)
    incidents.mark_considered(w.engine.store, incident, 'shown')
    assert.is_true(incidents.considered(incident, 'refused'))
    w.series.latency[label_key(SHOP)].partial = nil
    w.fire('latency', SHOP, { firing_from = clock.now() })
    incident = w.active()[1]
    assert.is_nil(incident.partial)
    assert.is_false(incidents.considered(incident, 'refused'))
    assert.is_true(incidents.considered(incident, 'shown'))
  end)

  it('is retired when its declaration is gone', function()
    local w = world()
    w.fire 'latency'
    w.fire 'errors'
    incidents.retire(w.engine)
    assert.equal(1, #w.active())
    w.engine.rules.incidents.degraded = nil
    incidents.retire(w.engine)
    assert.equal(0, #w.active())
    assert.same({ 'incident_opened', 'incident_resolved', 'incident_retired' },
      support.kinds(w.engine))
  end)
end)

describe('an incident that comes again', function()
  local function first()
    local w = world()
    w.fire 'latency'
    w.fire 'errors'
    incidents.mark_considered(w.engine.store, w.active()[1], 'rollback')
    clock.advance(60)
    w.calm 'latency'
    w.calm 'errors'
    return w, w.all()[1].id
  end

  it('within reopen_within is the same one, opened anew, and offered to playbooks anew', function()
    local w, id = first()
    clock.advance(600)
    w.fire 'latency'
    w.fire 'cpu'
    local incident = of_name(w.active(), 'degraded')[1]
    assert.same({ id, 'open', 2, clock.now() },
      { incident.id, incident.state, incident.episode, incident.reopened_at })
    assert.is_nil(incident.resolved_at)
    assert.is_false(incidents.considered(incident, 'rollback'))
    assert.equal(3, #incident.anomalies)
  end)

  it('later is another one with another id', function()
    local w, id = first()
    clock.advance(601)
    w.fire 'latency'
    w.fire 'errors'
    assert.not_equal(id, of_name(w.active(), 'degraded')[1].id)
    assert.equal(2, #of_name(w.all(), 'degraded'))
  end)

  it('has another id even when its first sign is the same', function()
    local w, id = first()
    clock.advance(601)
    w.fire('latency', SHOP, { firing_from = support.START })
    w.fire('errors', SHOP, { firing_from = support.START })
    assert.not_equal(id, of_name(w.active(), 'degraded')[1].id)
  end)
end)

-- -- any order --------------------------------------------------------------------------------

local function permutations(list, n, each)
  n = n or #list
  if n <= 1 then return each(list) end
  for i = 1, n do
    list[n], list[i] = list[i], list[n]
    permutations(list, n - 1, each)
    list[n], list[i] = list[i], list[n]
  end
end

describe('any order of arrival', function()
  local ARRIVALS = {
    { 'latency', { namespace = 'prod', app = 'shop', pod = 'a' }, 3 },
    { 'latency', { namespace = 'prod', app = 'shop', pod = 'b' }, 7 },
    { 'errors', { namespace = 'prod', app = 'shop' }, 1 },
    { 'cpu', { namespace = 'prod' }, 5 },
    { 'errors', { namespace = 'prod', app = 'cart' }, 2 },
  }

  --- What there is, as a text that does not depend on ids and places in lists.
  local function picture(w)
    local out = {}
    for _, incident in ipairs(w.all()) do
      local anomalies = {}
      for i, a in ipairs(incident.anomalies) do
        anomalies[i] = ('%s%s@%d'):format(a.signal, json.encode(a.labels), a.since)
      end
      table.sort(anomalies)
      out[#out + 1] = ('%s %s %s: %s'):format(incident.name, json.encode(incident.labels),
        incident.state, table.concat(anomalies, ' '))
    end
    table.sort(out)
    return table.concat(out, '\n')
  end

  it('gives the same incidents, each once', function()
    local rules, want, n = support.rules(RULES), nil, 0
    local order = { table.unpack(ARRIVALS) }
    permutations(order, nil, function()
      local w = world()
      w.engine.rules = rules
      for _, a in ipairs(order) do w.fire(a[1], a[2], { firing_from = support.START + a[3] }) end
      local have = picture(w)
      want = want or have
      n = n + 1
      if want ~= have then assert.equal(want, have) end
      w.engine.store:close()
    end)
    assert.equal(120, n)
    assert.equal(1, select(2, want:gsub('degraded', '')))
    assert.equal(1, select(2, want:gsub('quiet', '')))
  end)

  it('never makes two of one group, whatever comes and goes', function()
    local rules = support.rules(RULES)
    for seed = 1, 30 do
      local w, random = world(), support.random(seed)
      w.engine.rules = rules
      local ids = {}
      for _ = 1, 60 do
        clock.advance(random(120))
        local a = ARRIVALS[random(#ARRIVALS)]
        if random(2) == 1 then w.fire(a[1], a[2]) else w.calm(a[1], a[2]) end
        local seen = {}
        for _, incident in ipairs(w.active()) do
          local group = incident.name .. '\0' .. incident.group_key
          assert(not seen[group], 'two incidents of one group')
          seen[group], ids[incident.id] = true, true
        end
      end
      local opened, resolved = 0, 0
      for _, kind in ipairs(support.kinds(w.engine)) do
        if kind == 'incident_opened' or kind == 'incident_reopened' then opened = opened + 1 end
        if kind == 'incident_resolved' then resolved = resolved + 1 end
      end
      assert.equal(#w.active(), opened - resolved)
      local n = 0
      for _ in pairs(ids) do n = n + 1 end
      assert.equal(n, #w.all())
      w.engine.store:close()
    end
  end)
end)

describe('an incident as the API shows it', function()
  it('has the shape that is promised', function()
    local w = world()
    w.fire('latency', SHOP, { anomaly_score = 4, confidence = 88 })
    w.fire 'errors'
    local view = incidents.view(w.engine.store, w.active()[1])
    local now = clock.text(clock.now())
    assert.matches('^inc%-%x+$', view.id)
    view.id = nil
    assert.same({ name = 'degraded', state = 'open', is_incident = true, anomaly_count = 2,
      labels = { namespace = 'prod', app = 'shop', team = 'web' }, plans = {},
      recommendation = 'roll back shop, 2 odd', opened_at = now,
      anomalies = {
        { signal = 'errors', labels = SHOP, value = 9, is_anomaly = true, reason = 'odd',
          since = now },
        { signal = 'latency', labels = SHOP, value = 9, is_anomaly = true, anomaly_score = 4,
          confidence = 88, reason = 'odd', since = now },
      } }, view)
    assert.equal('[]', json.encode(view.plans))
  end)

  it('is in the audit trail whole', function()
    local w = world()
    w.fire 'latency'
    w.fire 'errors'
    local record = audit.list(w.engine.store, 0, 1)[1]
    assert.same({ 'degraded', 2, SHOP.app, 'roll back shop, 2 odd' },
      { record.name, record.signals, record.labels.app, record.recommendation })
  end)
end)
