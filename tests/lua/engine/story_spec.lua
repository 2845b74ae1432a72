local clock = require 'perigee.clock'
local json = require 'perigee.json'
local story = require 'engine.story'
local support = require 'lua.engine.support'

support.still()

describe('the story of a plan', function()
  after_each(support.tidy)

  it('keeps of a trigger what made the playbook act, however much there is', function()
    local anomalies, labels = {}, {}
    for i = 1, 1000 do
      anomalies[i] = { signal = 's' .. i, value = i, reason = 'odd', labels = { app = 'shop' } }
      labels['label_' .. i] = ('x'):rep(100)
    end
    local kept = story.trigger { trigger = 'incident', time = 7, value = 0 / 0, labels = labels,
      annotations = { runbook = 'no part of it', summary = ('€'):rep(500) },
      incident = { id = 'inc-1', name = 'odd', anomaly_count = 1000, anomalies = anomalies } }
    assert.same({ 'incident', 7, nil, nil }, { kept.trigger, kept.time, kept.value,
      kept.annotations })
    assert.equal(('€'):rep(166), kept.summary)
    assert.same({ 'inc-1', 'odd', 1000, 10 }, { kept.incident.id, kept.incident.name,
      kept.incident.anomaly_count, #kept.incident.anomalies })
    assert.is_true(#json.encode(kept) < 8192)
  end)

  it('tells of each point what was last', function()
    local store = support.engine().store
    story.keep(store, { id = 'plan-1', story = { trust = { to = 'auto' }, planning = {} } })
    clock.advance(5)
    story.tell(store, 'plan-1', 'start', { { gate = 'storm', message = 'calm' } })
    story.tell(store, 'plan-1', 'start',
      { { gate = 'storm', refused = true, message = 'a storm' } })
    story.tell(store, 'plan-2', 'start', {})
    local told = story.of(store, 'plan-1')
    assert.same({ to = 'auto' }, told.trust.data)
    assert.same({ { gate = 'storm', refused = true, message = 'a storm' } }, told.start.data)
    assert.equal(5, told.start.at - told.planning.at)
    assert.same({}, story.of(store, 'plan-0'))
    story.keep(store, { id = 'plan-3' })
    assert.same({}, story.of(store, 'plan-3'))
  end)
end)
