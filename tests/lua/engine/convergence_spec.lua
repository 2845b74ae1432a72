local convergence = require 'engine.convergence'

local DEF = { signals = { 'latency', 'errors', 'cpu' }, group_by = { 'namespace', 'app' },
  within = 300 }

--- A series that began to fire at `from` and, where given, ended at `to`.
local function series(labels, from, to, more)
  local s = { labels = labels, state = to and 'inactive' or 'firing', firing_from = from,
    firing_to = to, value = 1, reason = 'odd' }
  for k, v in pairs(more or {}) do s[k] = v end
  return s
end

local function states(by_signal)
  local out = {}
  for name, list in pairs(by_signal) do
    out[name] = { series = list, labels = list.declared }
    list.declared = nil
  end
  return out
end

local function one(groups)
  local key, group = next(groups)
  assert(key and not next(groups, key), 'exactly one group is expected')
  return group
end

local SHOP = { namespace = 'prod', app = 'shop' }

describe('the groups of an incident', function()
  it('count different signals, not series', function()
    local groups = convergence.groups(DEF, states {
      latency = { series({ namespace = 'prod', app = 'shop', pod = 'a' }, 100),
        series({ namespace = 'prod', app = 'shop', pod = 'b' }, 100) },
    }, 110)
    assert.same({ 1, 2 }, { one(groups).signals, #one(groups).anomalies })
  end)

  it('are told apart by the labels of group_by alone', function()
    local groups = convergence.groups(DEF, states {
      latency = { series({ namespace = 'prod', app = 'shop', pod = 'a' }, 100) },
      errors = { series({ namespace = 'prod', app = 'shop', code = '500' }, 100) },
      cpu = { series({ namespace = 'test', app = 'shop' }, 100) },
    }, 110)
    local counts = {}
    for _, g in pairs(groups) do counts[g.labels.namespace] = g.signals end
    assert.same({ prod = 2, test = 1 }, counts)
  end)

  it('show a series by what made it odd, also when it is odd no more', function()
    local was = { value = 9, anomaly_score = 4, confidence = 90, reason = '9 is odd' }
    local groups = convergence.groups(DEF, states {
      latency = { series(SHOP, 100, 105, { value = 1, reason = '1 is fine', odd = was }) },
    }, 110)
    local anomaly = one(groups).anomalies[1]
    assert.same({ 9, 4, 90, '9 is odd', false }, { anomaly.value, anomaly.anomaly_score,
      anomaly.confidence, anomaly.reason, anomaly.is_anomaly })
  end)

  it('take a missing label from the declaration, else as empty', function()
    local groups = convergence.groups(DEF, states {
      latency = { series({ namespace = 'prod' }, 100), declared = { app = 'shop' } },
      errors = { series(SHOP, 100) },
      cpu = { series({ app = '' , namespace = 'prod' }, 100) },
    }, 110)
    local apps = {}
    for _, g in pairs(groups) do apps[g.labels.app] = g.signals end
    assert.same({ shop = 2, [''] = 1 }, apps)
  end)

  it('a series\' own label goes before the declaration\'s', function()
    local groups = convergence.groups(DEF, states {
      latency = { series(SHOP, 100), declared = { app = 'other' } },
    }, 110)
    assert.equal('shop', one(groups).labels.app)
  end)

  it('without group_by everything is one group', function()
    local def = { signals = DEF.signals, group_by = {}, within = 300 }
    local groups = convergence.groups(def, states {
      latency = { series({ app = 'a' }, 100) }, errors = { series({ app = 'b' }, 100) },
    }, 110)
    assert.equal(2, one(groups).signals)
  end)

  it('labels that would run together stay apart', function()
    local def = { signals = DEF.signals, group_by = { 'a', 'b' }, within = 300 }
    local groups = convergence.groups(def, states {
      latency = { series({ a = 'x', b = 'yz' }, 100) },
      errors = { series({ a = 'xy', b = 'z' }, 100) },
    }, 110)
    local n = 0
    for _ in pairs(groups) do n = n + 1 end
    assert.equal(2, n)
  end)
end)

describe('whether a signal counts', function()
  local function counts(from, to, now)
    local by_signal = states { latency = { series(SHOP, from, to) } }
    return next(convergence.groups(DEF, by_signal, now)) ~= nil
  end

  it('is whether it fired at any time in [now - within, now]', function()
    local cases = {
      { 'fires now', 100, nil, 5000, true },
      { 'ended within', 100, 200, 400, true },
      { 'ended at the edge', 100, 200, 500, true },
      { 'ended before', 100, 200, 501, false },
      { 'begins now', 500, nil, 500, true },
      { 'begins later', 501, nil, 500, false },
      { 'never fired', nil, nil, 500, false },
    }
    for _, c in ipairs(cases) do assert.equal(c[5], counts(c[2], c[3], c[4]), c[1]) end
  end)

  it('is not asked of signals that the incident does not name', function()
    assert.same({}, convergence.groups(DEF, states { disk = { series(SHOP, 100) } }, 110))
  end)
end)

describe('what a group tells', function()
  it('each series with value, score, reason and since when, the oldest first', function()
    local group = one(convergence.groups(DEF, states {
      latency = { series(SHOP, 120, nil, { anomaly_score = 3, confidence = 80 }) },
      errors = { series(SHOP, 100, 110) },
    }, 130))
    assert.equal('errors', group.anomalies[1].signal)
    assert.is_false(group.anomalies[1].is_anomaly)
    assert.same({ signal = 'latency', labels = SHOP, value = 1, is_anomaly = true,
      anomaly_score = 3, confidence = 80, reason = 'odd', since = 120 }, group.anomalies[2])
    assert.same({ 1, 100 }, { group.firing, group.first })
  end)

  it('that it rests on partial data, as soon as one series does', function()
    local function partial(a, b)
      return one(convergence.groups(DEF, states {
        latency = { series(SHOP, 100, nil, { partial = a }) },
        errors = { series(SHOP, 100, nil, { partial = b }) },
      }, 110)).partial
    end
    assert.same({ false, true, true }, { partial(), partial(true), partial(true, true) })
  end)
end)
