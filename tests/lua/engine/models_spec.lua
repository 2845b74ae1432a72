local async = require 'async'
local clock = require 'perigee.clock'
local label_key = require('prometheus').label_key
local models = require 'engine.models'
local store = require 'perigee.store'
local support = require 'lua.engine.support'

support.still()

local DAY = 86400

--- A signal whose detector's model is the number of values that it was fitted to.
local function signal(more)
  local def = { name = 'a', query = 'a', model_digest = 'v1', fits = 0 }
  def.detector = { history = { range = DAY, step = 300, retrain = DAY }, fit = function(values)
    def.fits = def.fits + 1
    if #values < 3 then return nil, ('no baseline: %d samples'):format(#values) end
    return { n = #values, last = values[#values] }
  end }
  for k, v in pairs(more or {}) do def[k] = v end
  return def
end

local function series(app, y)
  local ds = {}
  for i = 1, #y do ds[i] = i * 300 end
  return { labels = { __name__ = 'x', app = app }, ds = ds, y = y }
end

local function sample(app) return { labels = { app = app }, value = 1, time = clock.now() } end

local function world(history)
  local source = support.source()
  source.ranges.a = history or { series('shop', { 1, 2, 3 }) }
  local db = assert(store.open ':memory:')
  return { source = source, store = db, keeper = models.keeper(db, source) }
end

--- Asks for the models in a task, and lets it and those that it starts go on.
local function get(w, def, vector, keeper)
  local task = async.spawn(keeper and keeper.get or w.keeper.get, keeper or w.keeper, def,
    vector or { sample 'shop' }, clock.now())
  for _ = 1, 20 do
    support.turns(2)
    clock.advance(0)
  end
  return task:await(0)
end

local SHOP = label_key { app = 'shop' }

describe('baselines', function()
  it('are learned when they are needed first, one a series', function()
    local w = world { series('shop', { 1, 2, 3 }), series('cart', { 4, 5, 6, 7 }) }
    local found, message = get(w, signal())
    assert.is_nil(message)
    assert.same({ n = 3, last = 3 }, found[SHOP])
    assert.same({ n = 4, last = 7 }, found[label_key { app = 'cart' }])
  end)

  it('are asked for on the grid of their step', function()
    local w, asked = world(), nil
    local history = w.source.ranges.a
    w.source.ranges.a = function(...)
      asked = { ... }
      return history
    end
    clock.advance(7)
    get(w, signal())
    assert.same({ asked[2] - DAY, clock.now() // 300 * 300, 300 }, asked)
  end)

  it('are kept: neither the next look nor the next process learns them again', function()
    local w, def = world(), signal()
    local first = get(w, def)[SHOP]
    clock.advance(3600)
    assert.same(first, get(w, def)[SHOP])
    assert.same(first, get(w, def, nil, models.keeper(w.store, w.source))[SHOP])
    assert.equal(1, def.fits)
  end)

  it('are learned anew when query or detector have changed', function()
    local w, def = world(), signal()
    get(w, def)
    w.source.ranges.a = { series('shop', { 1, 2, 3, 4 }) }
    assert.equal(4, get(w, signal { model_digest = 'v2' })[SHOP].n)
  end)

  it('are learned anew on schedule, while the old ones serve', function()
    local w, def = world(), signal()
    get(w, def)
    w.source.ranges.a = { series('shop', { 1, 2, 3, 4 }) }
    clock.advance(DAY - 1)
    assert.equal(3, get(w, def)[SHOP].n)
    assert.equal(1, def.fits)
    clock.advance(1)
    assert.equal(3, get(w, def)[SHOP].n)
    assert.equal(4, get(w, def)[SHOP].n)
    assert.equal(2, def.fits)
  end)

  it('of a series that is too short are missing, with the reason', function()
    local w = world { series('shop', { 1 }) }
    assert.same({ missing = 'no baseline: 1 samples' }, get(w, signal())[SHOP])
  end)

  it('are learned anew for a series that was not there, but not all the time', function()
    local w, def = world(), signal()
    local both = { sample 'shop', sample 'cart' }
    get(w, def, both)
    w.source.ranges.a = { series('shop', { 1, 2, 3 }), series('cart', { 1, 2, 3 }) }
    clock.advance(599)
    assert.is_nil(get(w, def, both)[label_key { app = 'cart' }])
    assert.equal(1, def.fits)
    clock.advance(1)
    get(w, def, both)
    assert.truthy(get(w, def, both)[label_key { app = 'cart' }])
  end)

  it('are learned anew when the clock was set back by more than the schedule', function()
    local w, def = world(), signal()
    get(w, def)
    w.store:exec('update models set fitted_at = fitted_at + ?', 2 * DAY)
    get(w, def, nil, models.keeper(w.store, w.source))
    assert.equal(2, def.fits)
  end)

  it('are learned once, however many ask meanwhile', function()
    local w, def = world(), signal()
    local gate, said = async.event(), {}
    local history = w.source.ranges.a
    w.source.ranges.a = function()
      gate:wait()
      return history
    end
    local first = async.spawn(w.keeper.get, w.keeper, def, { sample 'shop' }, clock.now())
    for i = 1, 3 do said[i] = select(2, get(w, def)) end
    assert.same({ 'the baseline is being learned', 'the baseline is being learned',
      'the baseline is being learned' }, said)
    gate:set()
    get(w, def)
    assert.equal(3, first:await(0)[SHOP].n)
    assert.equal(1, def.fits)
  end)
end)

describe('baselines that cannot be learned', function()
  it('say why, and are tried again after a minute', function()
    local w, def = world(), signal()
    w.source.ranges.a = { message = 'it is down' }
    local found, message = get(w, def)
    assert.same({}, found)
    assert.equal('the history cannot be read: it is down', message)
    local asked = #w.source.asked
    clock.advance(59)
    get(w, def)
    assert.equal(asked, #w.source.asked)
    w.source.ranges.a = { series('shop', { 1, 2, 3 }) }
    clock.advance(1)
    assert.equal(3, get(w, def)[SHOP].n)
  end)

  it('are not learned from half a history', function()
    local w = world { series('shop', { 1, 2, 3 }), partial = true }
    local found, message = get(w, signal())
    assert.same({ {}, 'the history is incomplete' }, { found, message })
  end)

  it('leave the old ones where they are', function()
    local w, def = world(), signal()
    get(w, def)
    w.source.ranges.a = { message = 'it is down' }
    clock.advance(2 * DAY)
    assert.equal(3, get(w, def)[SHOP].n)
    assert.equal(3, get(w, def)[SHOP].n)
  end)

  it('by an error of the detector are tried again too', function()
    local w, def = world(), signal()
    local fit = def.detector.fit
    def.detector.fit = function() error 'a bug' end
    assert.is_false(pcall(get, w, def))
    def.detector.fit = fit
    clock.advance(60)
    assert.equal(3, get(w, def)[SHOP].n)
  end)
end)

describe('what is kept of baselines', function()
  it('goes with the signal', function()
    local w = world()
    get(w, signal())
    models.prune(w.store, { a = true })
    assert.equal(1, w.store:row 'select count(*) as n from models'.n)
    models.prune(w.store, {})
    assert.equal(0, w.store:row 'select count(*) as n from models'.n)
  end)

  it('is the same after the way through the store, to the last digit', function()
    local w = world { series('shop', { 0.1, 1 / 3, 1e-300, 2 ^ 53 + 2, -7.25 }) }
    local def = signal()
    def.detector.fit = function(values) return { values = values } end
    local first = get(w, def)[SHOP].values
    local second = get(w, def, nil, models.keeper(w.store, w.source))
    for i, x in ipairs(first) do assert.is_true(x == second[SHOP].values[i]) end
  end)
end)
