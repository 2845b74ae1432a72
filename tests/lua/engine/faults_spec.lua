local faults = require 'engine.faults'
local metrics = require 'engine.metrics'
local store = require 'perigee.store'
local support = require 'lua.engine.support'

support.still()

local FAULT = { file = 'rules/checkout.lua', line = 12, message = 'no idea', kind = 'error',
  trace = '' }

local function off(db, rule, digest)
  return faults.switched_off(db, rule or 'signal/a', digest or 'v1')
end

local function add(db, n, rule, digest)
  for _ = 1, n do faults.add(db, rule or 'signal/a', digest or 'v1', FAULT) end
end

describe('faults of a rule', function()
  local db
  before_each(function() db = assert(store.open ':memory:') end)

  it('three running switch it off, and say where and why', function()
    add(db, 2)
    assert.is_nil(off(db))
    add(db, 1)
    assert.equal('switched off after 3 faults running, the last: rules/checkout.lua:12: no idea',
      off(db))
  end)

  it('in between a call without a fault do not count', function()
    for _ = 1, 5 do
      add(db, 2)
      faults.clear(db, 'signal/a')
    end
    assert.is_nil(off(db))
  end)

  it('are each rule\'s own', function()
    add(db, 3)
    add(db, 2, 'signal/b')
    assert.truthy(off(db))
    assert.is_nil(off(db, 'signal/b'))
    faults.clear(db, 'signal/b')
    assert.truthy(off(db))
  end)

  it('are forgotten when the file changes', function()
    add(db, 3)
    assert.is_nil(off(db, 'signal/a', 'v2'))
    add(db, 2, 'signal/a', 'v2')
    assert.is_nil(off(db, 'signal/a', 'v2'))
    add(db, 1, 'signal/a', 'v2')
    assert.truthy(off(db, 'signal/a', 'v2'))
  end)

  it('are not forgotten by a good call of a rule that is off', function()
    add(db, 3)
    faults.clear(db, 'signal/a')
    assert.truthy(off(db))
  end)

  it('are forgiven by a person, which is written down', function()
    add(db, 2)
    assert.is_false(faults.switch_on(db, 'signal/a', 'alice'))
    add(db, 1)
    assert.is_true(faults.switch_on(db, 'signal/a', 'alice'))
    assert.is_nil(off(db))
    assert.is_false(faults.switch_on(db, 'signal/a', 'alice'))
    local records = require('engine.audit').list(db, 0, 10)
    assert.same({ 'rule_switched_off', 'rule_switched_on', 'alice' },
      { records[1].kind, records[2].kind, records[2].who })
    add(db, 2)
    assert.is_nil(off(db))
  end)

  it('are counted by rule and kind', function()
    local before = metrics.rule_faults:value('signal/a', 'error')
    add(db, 4)
    assert.equal(4, metrics.rule_faults:value('signal/a', 'error') - before)
  end)

  it('without a place are told without one', function()
    assert.equal('no idea', faults.text { file = '', line = 0, message = 'no idea' })
    assert.equal('a.lua:3: no idea', faults.text { file = 'a.lua', line = 3, message = 'no idea' })
  end)
end)
