--- Detectors that learn for long and look back, in the engine: what is asked for, what is kept,
--- what happens where something is missing.
local async = require 'async'
local clock = require 'perigee.clock'
local evaluate = require 'engine.evaluate'
local scheduler = require 'engine.scheduler'
local support = require 'lua.engine.support'
local random = require('lua.detectors.support').random

support.still()

local DAY, STEP = 86400, 300

--- The value of a series at any time: a daily wave with noise.
local noise = {}
local function usual(t)
  noise[t] = noise[t] or random(t // 7 + 1)() + random(t // 3 + 2)()
  return 100 + 20 * math.sin(2 * math.pi * t / DAY) + noise[t]
end

--- A source with two series of that kind, which counts the histories and windows asked of it.
local function source()
  local s = support.source()
  s.histories, s.windows, s.apps = 0, {}, { 'shop', 'cart' }
  function s.ranges.q(start, stop, step)
    if stop - start >= DAY then s.histories = s.histories + 1 else
      s.windows[#s.windows + 1] = { start, stop, step }
    end
    local gate = stop - start >= DAY and s.gate
    if gate then gate:wait() end
    if s.failure and stop - start < DAY then return s.failure end
    local out = { partial = s.partial and stop - start < DAY or nil }
    for i, app in ipairs(s.apps) do
      local series = { labels = { __name__ = 'm', app = app }, ds = {}, y = {} }
      for t = start, stop, step do
        series.ds[#series.ds + 1], series.y[#series.y + 1] = t, usual(t) * i
      end
      out[i] = series
    end
    return out
  end
  return s
end

--- What a task that works on threads comes to, while the clock stands still.
local function finish(task)
  local until_then = clock.monotonic() + 30
  while task:state() ~= 'done' and clock.monotonic() < until_then do
    support.turns(2)
    clock.advance(0)
  end
  return task:await(0)
end

local FOREST = 'isolation_forest { history = "3d", step = "5m", n_estimators = 25 }'

local function world(o)
  o = o or {}
  local src = o.source or source()
  local engine = support.engine { source = src, path = o.path, rules = ([[
    signal "a" { query = "q", every = "30s", detector = %s }]]):format(o.detector or FOREST) }
  local w = { engine = engine, source = src, job = scheduler.jobs(engine.rules)[1],
    slot = o.slot or support.START }

  --- The next evaluation: the values of the series, usual ones where nothing is said.
  function w.look(shop, cart, later)
    w.slot = w.slot + (later or 30)
    clock.advance(w.slot - clock.now() > 0 and w.slot - clock.now() or 0)
    src.answers.q = { { { __name__ = 'm', app = 'shop' }, shop or usual(w.slot) },
      { { __name__ = 'm', app = 'cart' }, cart or 2 * usual(w.slot) } }
    local state = assert(finish(async.spawn(evaluate.run, engine, w.job, w.slot)))
    local by_app = {}
    for _, s in pairs(state.series) do by_app[s.labels.app] = s end
    return by_app
  end
  return w
end

describe('a signal with a forest', function()
  after_each(support.tidy)

  it('learns each series from its history, and judges it with its recent samples', function()
    local w = world()
    local s = w.look(500)
    assert.same({ 'anomaly', 'firing' }, { s.shop.condition, s.shop.state })
    assert.matches('^500 is odd: what stands out is ', s.shop.reason)
    assert.same({ 'ok', 'inactive' }, { s.cart.condition, s.cart.state })
    assert.is_true(s.shop.confidence > 90 and s.cart.confidence >= 50)
    assert.equal(1, w.source.histories)
    -- The six hours of the longest feature, on the grid that ends with the slot.
    assert.same({ { w.slot - 6 * 3600, w.slot - STEP, STEP } }, w.source.windows)
    assert.same('inactive', w.look().shop.state)
  end)

  it('loads its forests after a restart, in milliseconds and as they were', function()
    local path = support.folder() .. '/store'
    local first = world { path = path }
    local before = first.look(500)
    local again = world { path = path, slot = first.slot - 30, source = source() }
    again.engine.store:exec 'update signals set claimed_at = 0, evaluated_at = 0'
    local after = again.look(500)
    assert.equal(0, again.source.histories)
    assert.same({ before.shop.anomaly_score, before.shop.reason, before.cart.anomaly_score },
      { after.shop.anomaly_score, after.shop.reason, after.cart.anomaly_score })
  end)

  it('learns anew when its definition has changed, and only then', function()
    local path = support.folder() .. '/store'
    world { path = path }.look()
    local other = world { path = path, slot = support.START + 60, source = source(),
      detector = FOREST:gsub('25', '26') }
    other.look()
    assert.equal(1, other.source.histories)
  end)

  it('is served by the old forest while the new one is learned', function()
    local w = world()
    w.look()
    w.source.gate = async.event()
    local s = w.look(500, nil, DAY)
    assert.equal('anomaly', s.shop.condition)
    s = w.look(nil)
    assert.equal('ok', s.shop.condition)
    assert.equal(2, w.source.histories)
    local fitted = w.engine.store:row 'select fitted_at from models'.fitted_at
    w.source.gate:set()
    for _ = 1, 50 do
      s = w.look(500)
      assert.equal('anomaly', s.shop.condition) -- at no look without a verdict
      if w.engine.store:row 'select fitted_at from models'.fitted_at ~= fitted then break end
    end
    assert.is_true(w.engine.store:row 'select fitted_at from models'.fitted_at > fitted)
    assert.equal(2, w.engine.store:row 'select count(*) as n from series_models'.n)
    assert.equal('anomaly', w.look(500).shop.condition)
    assert.equal(2, w.source.histories)
  end)

  it('has no baseline where the recent samples are not to be had', function()
    local w = world()
    w.look()
    for _, case in ipairs { { failure = { message = 'it is down' } }, { partial = true },
      { apps = { 'cart' } } } do
      w.source.failure, w.source.partial = case.failure, case.partial
      w.source.apps = case.apps or { 'shop', 'cart' }
      local s = w.look(500)
      assert.same({ 'no_baseline', 'inactive' }, { s.shop.condition, s.shop.state })
      assert.equal('no baseline: the recent samples cannot be had', s.shop.reason)
    end
  end)

  it('tells a series that is new, and one that is NaN', function()
    local w = world()
    w.source.apps = { 'shop' }
    local s = w.look(0 / 0)
    assert.same({ 'nan', 'no_baseline' }, { s.shop.condition, s.cart.condition })
    assert.equal('no baseline: this series was not there when it was learned', s.cart.reason)
  end)

  it('may be combined with a limit that needs neither', function()
    local w = world { detector = ('combine { all = { threshold { above = 300 }, %s } }'):format(
      FOREST) }
    local s = w.look(500, 5)
    assert.equal('anomaly', s.shop.condition)
    assert.matches('^2 of 2: 500 is above 300; 500 is odd: ', s.shop.reason)
    assert.equal('ok', s.cart.condition) -- odd enough, but below the limit
    assert.equal(1, #w.source.windows)
  end)

  it('with features of the day asks for the days before', function()
    local w = world { detector = 'isolation_forest { history = "9d", n_estimators = 10, '
      .. 'features = { "value", "residual" } }' }
    w.look(500)
    assert.equal(2, w.source.histories) -- the window is as long as a history
  end)
end)

describe('a signal that learns longer than it waits between looks', function()
  after_each(support.tidy)

  it('says so meanwhile', function()
    local w = world()
    w.source.gate = async.event()
    local job, engine = w.job, w.engine
    w.source.answers.q = { { { app = 'shop' }, 1 } }
    local first = async.spawn(evaluate.run, engine, job, w.slot + 30)
    support.turns(10)
    w.slot = w.slot + 30
    local s = w.look()
    assert.equal('no baseline: the baseline is being learned', s.shop.reason)
    w.source.gate:set()
    finish(first)
  end)
end)
