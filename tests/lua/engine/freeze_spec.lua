local check = require 'check'
local clock = require 'perigee.clock'
local freeze = require 'engine.freeze'

local function window(v)
  local message, w = freeze.rule.test(v)
  assert(not message, message)
  return w
end

--- A moment's Unix seconds.
local function at(text) return window({ from = text, to = '2999-01-01T00:00:00Z' }).from end

--- What is wrong with a window.
local function words(v)
  local message, _, nested = freeze.rule.test(v)
  return nested and check.words(nested[1]) or message
end

describe('a freeze window', function()
  it('once covers from its first moment to just before its last', function()
    local w = window { from = '2026-12-24T18:00:00+01:00', to = '2026-12-26T00:00:00Z' }
    assert.same({ false, true, true, false }, {
      freeze.covers(w, at '2026-12-24T16:59:59Z'), freeze.covers(w, at '2026-12-24T17:00:00Z'),
      freeze.covers(w, at '2026-12-25T23:59:59Z'), freeze.covers(w, at '2026-12-26T00:00:00Z') })
  end)

  it('takes moments as RFC 3339 has them, and as the API prints them', function()
    assert.equal(1767225600, at '2026-01-01T00:00:00Z')
    assert.equal(1767225600, at '2025-12-31T19:30:00-04:30')
    assert.equal(1767225600, at '2026-01-01 05:45:00+05:45')
    assert.equal(1709164800, at '2024-02-29T00:00:00Z')
    assert.equal(1700000000, at(clock.text(1700000000.25)))
  end)

  it('each week goes by the days and hours of its time zone, also over midnight', function()
    local w = window { days = { 'fri' }, start = '22:00', ['end'] = '06:00',
      timezone = 'Europe/Berlin' }
    local cases = { -- the 6th of March 2026 is a Friday; Berlin is an hour ahead
      { '2026-03-06T20:59:59Z', false }, { '2026-03-06T21:00:00Z', true },
      { '2026-03-07T04:59:59Z', true }, { '2026-03-07T05:00:00Z', false },
      { '2026-03-07T21:30:00Z', false }, { '2026-07-03T20:00:00Z', true },
    }
    for _, c in ipairs(cases) do assert.equal(c[2], freeze.covers(w, at(c[1])), c[1]) end
  end)

  it('goes from one week into the next', function()
    local w = window { days = { 'sun' }, start = '23:00', ['end'] = '01:00' }
    assert.same({ true, true, false, false }, {
      freeze.covers(w, at '2026-03-08T23:30:00Z'), freeze.covers(w, at '2026-03-09T00:59:59Z'),
      freeze.covers(w, at '2026-03-09T01:00:00Z'), freeze.covers(w, at '2026-03-08T00:30:00Z') })
  end)

  it('without days is every day', function()
    local w = window { start = '09:00', ['end'] = '17:00' }
    assert.is_true(freeze.covers(w, at '2026-03-08T12:00:00Z'))
    assert.is_false(freeze.covers(w, at '2026-03-08T17:00:00Z'))
  end)

  it('can last a whole day', function()
    for _, v in ipairs { { days = { 'sat' }, start = '00:00', ['end'] = '24:00' },
      { days = { 'sat' }, start = '00:00', ['end'] = '00:00' } } do
      local w = window(v)
      assert.same({ false, true, true, false }, {
        freeze.covers(w, at '2026-03-06T23:59:59Z'), freeze.covers(w, at '2026-03-07T00:00:00Z'),
        freeze.covers(w, at '2026-03-07T23:59:59Z'), freeze.covers(w, at '2026-03-08T00:00:00Z') })
    end
  end)

  it('goes by the clock on the wall where that is put forward or back', function()
    local w = window { days = { 'sun' }, start = '02:30', ['end'] = '03:30',
      timezone = 'Europe/Berlin' }
    local cases = { -- 29 March 2026: 02:00 becomes 03:00; 25 October 2026: 03:00 becomes 02:00
      { '2026-03-29T00:59:59Z', false }, { '2026-03-29T01:00:00Z', true },
      { '2026-03-29T01:29:59Z', true }, { '2026-03-29T01:30:00Z', false },
      { '2026-10-25T00:29:59Z', false }, { '2026-10-25T00:30:00Z', true }, -- 02:30, summer
      { '2026-10-25T01:00:00Z', false }, { '2026-10-25T01:29:59Z', false }, -- 02:00, winter
      { '2026-10-25T01:30:00Z', true }, { '2026-10-25T02:29:59Z', true },
      { '2026-10-25T02:30:00Z', false },
    }
    for _, c in ipairs(cases) do assert.equal(c[2], freeze.covers(w, at(c[1])), c[1]) end
  end)

  it('over midnight has its hours also where the night has one more or less', function()
    local w = window { days = { 'sat' }, start = '22:00', ['end'] = '06:00',
      timezone = 'America/New_York' }
    local cases = { -- 8 March and 1 November 2026 are Sundays on which New York's clocks change
      { '2026-03-08T02:59:59Z', false }, { '2026-03-08T03:00:00Z', true },
      { '2026-03-08T09:59:59Z', true }, { '2026-03-08T10:00:00Z', false },
      { '2026-11-01T01:59:59Z', false }, { '2026-11-01T02:00:00Z', true },
      { '2026-11-01T10:59:59Z', true }, { '2026-11-01T11:00:00Z', false },
    }
    for _, c in ipairs(cases) do assert.equal(c[2], freeze.covers(w, at(c[1])), c[1]) end
  end)

  it('by days of the month and months counts from either end', function()
    local function cases(v, list)
      v.start, v['end'] = v.start or '00:00', v['end'] or '24:00'
      local w = window(v)
      for _, c in ipairs(list) do assert.equal(c[2], freeze.covers(w, at(c[1])), c[1]) end
    end
    cases({ days_of_month = { '-3:-1', 1 } }, {
      { '2026-02-25T23:59:59Z', false }, { '2026-02-26T00:00:00Z', true },
      { '2026-03-01T23:59:59Z', true }, { '2026-03-02T00:00:00Z', false },
      { '2024-02-26T12:00:00Z', false }, { '2024-02-27T12:00:00Z', true } })
    cases({ months = { 'dec' }, days_of_month = { '24:31' }, start = '22:00', ['end'] = '06:00' }, {
      { '2026-12-31T23:00:00Z', true }, { '2027-01-01T05:59:59Z', true },
      { '2027-01-01T22:00:00Z', false }, { '2026-12-24T05:00:00Z', false },
      { '2026-11-24T23:00:00Z', false } })
    cases({ days = { 'fri' }, days_of_month = { '8:14' } }, { -- the second Friday
      { '2026-03-06T12:00:00Z', false }, { '2026-03-13T12:00:00Z', true },
      { '2026-03-14T12:00:00Z', false } })
    cases({ days_of_month = { 31 } }, { { '2026-04-30T12:00:00Z', false },
      { '2026-05-31T12:00:00Z', true } })
  end)

  it('with a scope concerns what is in it', function()
    local w = window { start = '00:00', ['end'] = '24:00', namespaces = { 'shop', 'pay' },
      playbooks = { 'a' } }
    assert.is_true(freeze.concerns(w, 'a', { pay = true, other = true }))
    assert.is_false(freeze.concerns(w, 'b', { pay = true }))
    assert.is_false(freeze.concerns(w, 'a', { other = true }))
    assert.is_false(freeze.concerns(w, 'a', {}))
    assert.is_true(freeze.concerns(window { start = '00:00', ['end'] = '24:00' }, 'a', {}))
    w = window { start = '00:00', ['end'] = '24:00', namespaces = { 'team-*' } }
    assert.is_true(freeze.concerns(w, 'a', { ['team-a'] = true }))
    assert.is_false(freeze.concerns(w, 'a', { team = true }))
  end)

  it('says what it is', function()
    assert.equal('from 1970-01-01T00:00:00.000Z to 1970-01-01T00:01:00.000Z',
      freeze.text(window { from = '1970-01-01T00:00:00Z', to = '1970-01-01T00:01:00Z' }))
    assert.equal('sat,sun 22:00-06:30 Europe/Berlin', freeze.text(window { start = '22:00',
      ['end'] = '06:30', days = { 'sat', 'sun' }, timezone = 'Europe/Berlin' }))
    assert.equal('daily 00:00-24:00 UTC', freeze.text(window { start = '00:00',
      ['end'] = '24:00' }))
    assert.equal('dec day 24 days -2:-1 00:00-24:00 UTC (the end of the year)',
      freeze.text(window { name = 'the end of the year', start = '00:00', ['end'] = '24:00',
        months = { 'dec' }, days_of_month = { 24, '-2:-1' } }))
  end)

  it('must be one of the two kinds, whole', function()
    local kinds = 'expected { from, to }, or { days, start, end, timezone }'
    local one, other = '2026-01-01T00:00:00Z', '2026-01-02T00:00:00Z'
    for _, v in ipairs { {}, { from = one }, { to = one }, { start = '09:00' },
      { ['end'] = '09:00' }, { days = { 'mon' } }, { from = one, to = other, days = { 'mon' } },
      { from = one, to = other, start = '09:00' },
      { from = one, start = '09:00', ['end'] = '10:00' },
      { from = one, to = other, start = '09:00', ['end'] = '10:00' } } do
      assert.equal(kinds, words(v))
    end
    assert.equal('expected a table, not "always"', words 'always')
    assert.equal('expected "to" after "from"', words { from = other, to = one })
    assert.equal('expected "to" after "from"', words { from = one, to = one })
    assert.equal('"days" is empty; without it, it is every day',
      words { days = {}, start = '09:00', ['end'] = '10:00' })
    assert.equal('"namespaces" is empty; without it, it holds for all',
      words { namespaces = {}, start = '09:00', ['end'] = '10:00' })
    for _, v in ipairs { 0, 32, '3:1', '-1:1', 'first', 1.5 } do
      assert.matches('days_of_month[1]: expected a day of the month such as 1',
        words { days_of_month = { v }, start = '09:00', ['end'] = '10:00' }, 1, true)
    end
    assert.equal('unknown option "untill"; known are days, days_of_month, end, '
      .. 'from, months, name, namespaces, playbooks, start, timezone, to',
      words { from = one, untill = other })
  end)

  it('is made of times that there are', function()
    for _, text in ipairs { '2026-01-01', '2026-01-01T00:00:00', '2026-02-29T00:00:00Z',
      '2026-13-01T00:00:00Z', '2026-00-01T00:00:00Z', '2026-04-31T00:00:00Z',
      '2026-01-00T00:00:00Z', '2026-01-01T24:00:00Z', '2026-01-01T00:60:00Z',
      '2026-01-01T00:00:61Z', '2026-01-01T00:00:00+1', '2026-01-01T00:00Z', 'Christmas' } do
      assert.equal(('from: expected a time with its zone, such as "2026-12-24T18:00:00Z" or '
        .. '"…+01:00", not "%s"'):format(text), words { from = text, to = '2999-01-01T00:00:00Z' })
    end
    assert.matches('^from: .*not 5$', words { from = 5, to = '2999-01-01T00:00:00Z' })
    for _, text in ipairs { '9', '9:00', '25:00', '24:01', '12:60', '12:00:00' } do
      assert.equal(('start: expected a time of day such as "18:00", not "%s"'):format(text),
        words { start = text, ['end'] = '10:00' })
    end
    assert.equal('days[1]: expected one of mon, tue, wed, thu, fri, sat, sun, not "montag"',
      words { days = { 'montag' }, start = '09:00', ['end'] = '10:00' })
    assert.equal('unknown time zone "Mars/Olympus"',
      words { start = '09:00', ['end'] = '10:00', timezone = 'Mars/Olympus' })
  end)
end)
