local alertmanager = require 'alertmanager'
local clock = require 'perigee.clock'
local json = require 'perigee.json'
local silences = require 'engine.silences'
local story = require 'engine.story'
local support = require 'lua.engine.support'

support.still()
after_each(support.tidy)

local function silence(matchers, more)
  local s = { id = 'abc', state = 'active', createdBy = 'anna', comment = 'moving',
    endsAt = '2026-01-01T00:00:00.000Z', matchers = matchers }
  for k, v in pairs(more or {}) do s[k] = v end
  return s
end

local function eq(name, value) return { name = name, value = value, isRegex = false } end

describe('a silence', function()
  it('is about labels as Alertmanager has it', function()
    local function is_about(matchers, labels)
      return alertmanager.is_about(silence(matchers), labels)
    end
    local labels = { alertname = 'Down', app = 'shop' }
    assert.is_true(is_about({ eq('app', 'shop') }, labels))
    assert.is_false(is_about({ eq('app', 'sho') }, labels))
    assert.is_false(is_about({ eq('app', 'shop'), eq('alertname', 'Up') }, labels))
    assert.is_true(is_about({ { name = 'app', value = 'sh.*|x', isRegex = true } }, labels))
    assert.is_false(is_about({ { name = 'app', value = 'ho', isRegex = true } }, labels))
    assert.is_false(is_about({ { name = 'app', value = 'shop', isEqual = false } }, labels))
    assert.is_true(is_about({ { name = 'app', value = 'x.*', isRegex = true, isEqual = false } },
      labels))
    assert.is_true(is_about({ eq('missing', '') }, labels))
    assert.is_true(is_about({ { name = 'app', value = '(', isRegex = true } }, labels))
  end)
end)

describe('the gate', function()
  --- What it says of a plan; with an Alertmanager that has these silences, or none that answers.
  local function gate(list, set, trigger)
    local engine = support.engine { config = { external_labels = { cluster = 'eu' } } }
    local asked = 0
    engine.alertmanager = { silences = function()
      asked = asked + 1
      if not list then return nil, { message = 'connection refused' } end
      return list
    end }
    local p = { id = 'plan-1', playbook = 'mend', trust = 'auto' }
    for k, v in pairs(set or {}) do p[k] = v end
    story.tell(engine.store, p.id, 'trigger', trigger or { trigger = 'metric',
      labels = { app = 'shop' } })
    silences.refresh(engine)
    silences.refresh(engine)
    assert.equal(1, asked)
    return silences.gate(engine, p)
  end

  it('refuses what is silenced, with who, until when and which', function()
    assert.equal('mend is silenced by anna until 2026-01-01T00:00:00.000Z (silence abc: moving)',
      (gate { silence { eq('app', 'cart') }, silence { eq('app', 'shop') } }))
    assert.is_truthy(gate { silence { eq('cluster', 'eu') } })
    assert.is_truthy(gate { silence { eq('alertname', 'mend') } })
    assert.is_truthy(gate({ silence { eq('alertname', 'Down') } }, {},
      { trigger = 'alert', name = 'Down', labels = { alertname = 'Down' } }))
    local refusal, words = gate { silence { eq('app', 'cart') },
      silence({ eq('app', 'shop') }, { state = 'expired' }) }
    assert.is_nil(refusal)
    assert.equal('none of 1 silences is about it', words)
  end)

  it('looks at every signal of an incident that is odd', function()
    local engine = support.engine()
    engine.silences = { at = clock.now(), list = { silence { eq('alertname', 'latency') } } }
    engine.alertmanager = {}
    local data = { labels = { app = 'shop' }, episode = 1, recommendation = '', anomalies =
      json.array { { signal = 'latency', labels = { app = 'shop' }, is_anomaly = true } } }
    local function put()
      engine.store:exec([[insert or replace into incidents (id, name, group_key, state, opened_at,
        updated_at, data) values ('inc-1', 'odd', 'g', 'open', 1, 1, ?)]], json.encode(data))
    end
    put()
    local p = { id = 'plan-1', playbook = 'mend', trust = 'auto', incident_id = 'inc-1' }
    assert.matches('^latency is silenced by anna', (silences.gate(engine, p)))
    data.anomalies[1].is_anomaly = false
    put()
    assert.is_nil((silences.gate(engine, p)))
  end)

  it('stops what would happen by itself where nobody can be asked, and no approved plan', function()
    local words = 'the silences of Alertmanager are not known: connection refused'
    assert.equal(words, (gate(nil)))
    assert.same({ nil, words .. '; a person has approved the plan' },
      { gate(nil, { trust = 'human_approve' }) })
    local engine = support.engine()
    assert.same({ nil, 'no Alertmanager is configured' }, { silences.gate(engine, {}) })
    engine.alertmanager = {}
    assert.matches('not been asked yet$', (silences.gate(engine, { trust = 'auto' })))
    engine.silences = { at = clock.now() - 60, list = {} }
    assert.matches('not been asked for a while$', (silences.gate(engine, { trust = 'auto' })))
  end)
end)
