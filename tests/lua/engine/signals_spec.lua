local signals = require 'engine.signals'
local support = require 'lua.engine.support'

local NAN = 0 / 0
local LABELS = { app = 'shop' }

--- What a letter stands for: an anomaly, a fine value, NaN, no baseline; "_" is no sample.
local function observation(letter, labels)
  if letter == '_' then return nil end
  local o = { labels = labels or LABELS, value = letter == 'N' and NAN or 7, annotations = nil }
  if letter == 'A' then
    o.verdict = { is_anomaly = true, anomaly_score = 2, confidence = 90, reason = 'odd' }
    o.annotations = { summary = 'seven' }
  elseif letter == 'o' then
    o.verdict = { is_anomaly = false, anomaly_score = 0, confidence = 90, reason = 'fine' }
  elseif letter == 'b' then
    o.verdict = { is_anomaly = false, reason = 'no baseline' }
  end
  return o
end

local function only(state)
  local _, series = next(state.series)
  return series
end

local LETTER = { inactive = 'i', pending = 'p', firing = 'f' }

--- Evaluates a row of letters, 10 seconds apart, and returns the states as letters; "-" for none.
local function play(case)
  local state, out, last = {}, {}, nil
  for i = 1, #case.input do
    local change = case.change and case.change[i] or {}
    case.hold, case.keep = change.hold or case.hold or 0, change.keep or case.keep or 0
    local partial = (case.partial or ''):sub(i, i) == 'P'
    local message
    state, message = signals.step(state, { hold_for = case.hold, keep_firing_for = case.keep },
      i * 10, { observation(case.input:sub(i, i)) }, partial)
    assert.is_nil(message)
    last = only(state)
    out[i] = last and LETTER[last.state] or '-'
  end
  return table.concat(out), last
end

describe('the life of a series', function()
  local cases = {
    { 'is inactive while nothing is odd', input = 'ooo', want = 'iii' },
    { 'fires in the first evaluation without hold_for', input = 'oAAo', want = 'iffi' },
    { 'is pending until hold_for has passed', hold = 20, input = 'AAAAo', want = 'ppffi' },
    { 'fires when exactly hold_for has passed', hold = 10, input = 'AA', want = 'pf' },
    { 'starts again when it was fine in between', hold = 20, input = 'AAoAAA', want = 'ppippf' },
    { 'a pending one that is not there any more is forgotten', hold = 20, input = 'AA_',
      want = 'pp-' },
    { 'a firing one that is not there any more is resolved and told of', input = 'A__',
      want = 'fii' },
    { 'keeps firing while keep_firing_for runs', keep = 30, input = 'Aoooo', want = 'ffffi' },
    { 'a gap shorter than keep_firing_for does not show', keep = 20, input = 'AoAoAo',
      want = 'ffffff' },
    { 'keep_firing_for counts missing data too', keep = 20, input = 'A___', want = 'fffi' },
    { 'keep_firing_for does nothing for a pending one', hold = 20, keep = 60, input = 'AAo',
      want = 'ppi' },
    { 'a raised hold_for takes a firing one back to pending', hold = 0, input = 'AAAAA',
      change = { [3] = { hold = 40 } }, want = 'ffppf' },
    { 'a lowered hold_for fires at once', hold = 600, input = 'AAA',
      change = { [3] = { hold = 10 } }, want = 'ppf' },
    { 'a raised hold_for takes back what is only kept firing', keep = 600, input = 'Aooo',
      change = { [3] = { hold = 600 } }, want = 'ffpi' },
    { 'NaN is no anomaly: a pending one is dropped', hold = 20, input = 'AANA', want = 'ppip' },
    { 'NaN is no anomaly: a firing one is resolved', input = 'AN', want = 'fi' },
    { 'without a baseline nothing is odd', hold = 20, input = 'AbA', want = 'pip' },
    { 'a partial answer takes nothing away', input = 'A__', partial = '.P.', want = 'ffi' },
    { 'a partial answer keeps a pending one', hold = 20, input = 'A_A', partial = '.P.',
      want = 'ppf' },
    { 'a partial answer that shows a fine value counts', input = 'Ao', partial = '.P',
      want = 'fi' },
  }
  for _, case in ipairs(cases) do
    it(case[1], function() assert.equal(case.want, (play(case))) end)
  end

  it('keeps a resolved one for a quarter of an hour, then forgets it', function()
    local state, def = {}, { hold_for = 0, keep_firing_for = 0 }
    state = signals.step(state, def, 0, { observation 'A' }, false)
    for ts = 30, 930, 30 do
      state = signals.step(state, def, ts, {}, false)
      assert.equal(ts < 930, only(state) ~= nil)
    end
  end)

  it('keeps a resolved one as long as an incident looks back', function()
    local def = { hold_for = 0, keep_firing_for = 0, keep_resolved = 3600 }
    local state = signals.step({}, def, 0, { observation 'A' }, false)
    state = signals.step(state, def, 30, {}, false)
    assert.truthy(only(signals.step(state, def, 3600, {}, false)))
    assert.is_nil(only(signals.step(state, def, 3630, {}, false)))
  end)

  it('says when it fired, since when it was odd and when it was over', function()
    local _, series = play { hold = 20, input = 'AAAo' }
    assert.same({ fired = 30, resolved = 40, from = 30, to = 40, by = 'ok' },
      { fired = series.fired_at, resolved = series.resolved_at, from = series.firing_from,
        to = series.firing_to, by = series.resolved_by })
    local _, pending = play { hold = 60, input = 'oAA' }
    assert.same({ 20 }, { pending.active_at, pending.fired_at })
  end)
end)

describe('what a series says of its last look', function()
  it('tells anomaly, ok, NaN, no baseline and no data apart', function()
    local said = {}
    for letter in ('AoNb'):gmatch '.' do
      local _, series = play { input = letter }
      said[#said + 1] = series.condition
    end
    local _, gone = play { input = 'A_' }
    said[#said + 1] = gone.condition
    assert.same({ 'anomaly', 'ok', 'nan', 'no_baseline', 'no_data' }, said)
  end)

  it('keeps what JSON has no number for as a text', function()
    for _, case in ipairs { { NAN, 'NaN' }, { math.huge, '+Inf' }, { -math.huge, '-Inf' },
      { 1.5, 1.5 } } do
      local o = observation 'o'
      o.value = case[1]
      local state = signals.step({}, { hold_for = 0, keep_firing_for = 0 }, 1, { o }, false)
      assert.equal(case[2], only(state).value)
    end
  end)

  it('shows no value, score or confidence of data that is not there', function()
    local _, series = play { input = 'A_' }
    assert.same({}, { series.value, series.anomaly_score, series.confidence })
    assert.equal('no data', series.reason)
  end)

  it('marks what rests on a partial answer, until a whole one comes', function()
    local _, series = play { input = 'A', partial = 'P' }
    assert.is_true(series.partial)
    _, series = play { input = 'AA', partial = 'P.' }
    assert.is_nil(series.partial)
  end)

  it('remembers what made it odd', function()
    local _, last = play { input = 'Aob' }
    assert.same({ value = 7, anomaly_score = 2, confidence = 90, reason = 'odd' }, last.odd)
    assert.equal('no baseline', last.reason)
    assert.is_nil(select(2, play { input = 'oo' }).odd)
  end)

  it('keeps the annotations of the last anomaly', function()
    local _, series = play { input = 'Ao' }
    assert.same({ summary = 'seven' }, series.annotations)
  end)
end)

describe('an evaluation as a whole', function()
  local def = { hold_for = 0, keep_firing_for = 0 }

  it('goes on where it was when the clock is set back', function()
    local state = {}
    local function step(ts)
      state = signals.step(state, { hold_for = 20, keep_firing_for = 0 }, ts, { observation 'A' },
        false)
      return only(state).state
    end
    assert.same({ 'pending', 'pending' }, { step(100000), step(100010) })
    assert.same({ 'pending', 'firing' }, { step(510), step(520) })
    assert.equal('firing', step(100))
    local series = only(state)
    assert.same({ 80, 100, 100, nil }, { series.active_at, series.fired_at, series.firing_from,
      series.firing_to })
  end)

  it('is refused when two series come to the same labels, and changes nothing', function()
    local before = signals.step({}, def, 10, { observation 'A' }, false)
    local twice = { observation 'o', observation 'A' }
    local after, message = signals.step(before, def, 20, twice, false)
    assert.equal(before, after)
    assert.matches('two series come to the same labels', message, 1, true)
  end)

  it('never changes the state it was given', function()
    local before = signals.step({}, def, 10, { observation 'A' }, false)
    local copy = only(before).state
    signals.step(before, def, 20, { observation 'o' }, false)
    assert.equal(copy, only(before).state)
  end)

  it('is as high as the highest of its series', function()
    local slow = { hold_for = 60, keep_firing_for = 0 }
    local a, b = { app = 'a' }, { app = 'b' }
    assert.equal('unknown', signals.highest(nil))
    assert.equal('unknown', signals.highest {})
    local state = signals.step({}, slow, 10, { observation('o', a) }, false)
    assert.equal('inactive', signals.highest(state))
    state = signals.step(state, slow, 20, { observation('A', a), observation('o', b) }, false)
    assert.equal('pending', signals.highest(state))
    state = signals.step(state, slow, 80, { observation('A', a), observation('A', b) }, false)
    assert.equal('firing', signals.highest(state))
  end)
end)

-- The lifecycle of reference/protocols.md 3.3, step by step as it is written there, with what it
-- does not speak of added: a partial answer leaves what it lacks as it was.
local function naive(active, def, ts, result, seen, partial)
  for key in pairs(result) do -- 3
    local instance = active[key]
    if not instance or instance.state == 'inactive' then
      active[key] = { state = 'pending', active_at = ts }
    end
  end
  local untouched = {}
  for key, instance in pairs(active) do -- 4
    if not result[key] then
      if partial and not seen[key] then
        untouched[key] = true
      else
        local kept = false
        if instance.state == 'firing' and def.keep_firing_for > 0 then
          instance.keep_firing_since = instance.keep_firing_since or ts
          kept = ts - instance.keep_firing_since < def.keep_firing_for
        end
        if instance.state == 'pending' then
          active[key] = nil
        elseif instance.state == 'firing' and not kept then
          instance.state, instance.resolved_at = 'inactive', ts
        end
      end
    end
  end
  for key in pairs(result) do active[key].keep_firing_since = nil end -- 5
  for key, instance in pairs(active) do
    if not untouched[key] then
      if instance.state == 'pending' and ts - instance.active_at >= def.hold_for then -- 6
        instance.state, instance.fired_at = 'firing', ts
      elseif instance.state == 'firing' and ts - instance.active_at < def.hold_for then -- 7
        instance.state, instance.fired_at, instance.keep_firing_since = 'pending', nil, nil
      end
    end
  end
end

describe('against the protocol\'s own words', function()
  local LETTERS = { 'A', 'A', 'A', 'o', 'N', 'b', '_' }

  --- Everything that counts of a state, as a text; what is inactive counts only when it was told.
  local function text(of, names)
    local out = {}
    for i, name in ipairs(names) do
      local s = of[name] or { state = 'inactive' }
      local is_over = s.state == 'inactive'
      out[i] = ('%s %s %s %s'):format(s.state, is_over and '' or s.active_at,
        is_over and '' or s.fired_at, is_over and '' or s.keep_firing_since)
    end
    return table.concat(out, '; ')
  end

  local function compare(twin, state, hint)
    local ours, names = {}, { '1', '2', '3', '4' }
    for _, series in pairs(state.series) do ours[series.labels.n] = series end
    local want, have = text(twin, names), text(ours, names)
    if want ~= have then assert.equal(want, have, hint) end
    for name, instance in pairs(twin) do
      if instance.state == 'inactive' and ours[name] and instance.resolved_at then
        if instance.resolved_at ~= ours[name].resolved_at then
          assert.equal(instance.resolved_at, ours[name].resolved_at, hint)
        end
      end
    end
  end

  it('goes the same way in any history of 4 series', function()
    for seed = 1, 200 do
      local random = support.random(seed)
      local twin, state, ts = {}, {}, 0
      local def = { hold_for = 10 * (random(4) - 1), keep_firing_for = 10 * (random(4) - 1) }
      for step = 1, 60 do
        ts = ts + 10 * random(2)
        if random(20) == 1 then def.hold_for = 10 * (random(6) - 1) end
        if random(20) == 1 then def.keep_firing_for = 10 * (random(6) - 1) end
        local observations, result, seen, partial = {}, {}, {}, random(8) == 1
        for n = 1, 4 do
          local letter, name = LETTERS[random(#LETTERS)], tostring(n)
          observations[#observations + 1] = observation(letter, { n = name })
          result[name] = letter == 'A' or nil
          seen[name] = letter ~= '_' or nil
        end
        naive(twin, def, ts, result, seen, partial)
        state = signals.step(state, def, ts, observations, partial)
        compare(twin, state, ('seed %d, step %d'):format(seed, step))
      end
    end
  end)
end)
