local calendar = require 'calendar'
local ticks = require 'plot.ticks'

local function texts(marks)
  local out = {}
  for i, m in ipairs(marks) do out[i] = m.text end
  return table.concat(out, '|')
end

describe('plot.ticks', function()
  it('writes values with the unit that a person would', function()
    for want, given in pairs { ['0'] = { 0 }, ['42'] = { 42 }, ['1.5 k'] = { 1500 },
      ['410 GB'] = { 410e9, 'bytes' }, ['999 B'] = { 999, 'bytes' }, ['50 %'] = { 0.5, 'percent' },
      ['99.9 %'] = { 0.999, 'percent' }, ['250 ms'] = { 0.25, 'seconds' },
      ['90 s'] = { 90, 'seconds' },
      ['2 d'] = { 172800, 'seconds' }, ['NaN'] = { 0 / 0 }, ['-3 MB'] = { -3e6, 'bytes' },
      ['12 req/s'] = { 12, 'req/s' }, ['20 µ'] = { 2e-5 } } do
      assert.equal(want, ticks.value_text(given[1], given[2]))
    end
  end)

  it('marks values at round steps that cover the range, each read differently', function()
    local marks, low, high = ticks.values(295e9, 423e9, 5, 'bytes')
    assert.equal('250 GB|300 GB|350 GB|400 GB|450 GB', texts(marks))
    assert.same({ 250e9, 450e9 }, { low, high })
    assert.equal('0.00|0.25|0.50|0.75|1.00', texts((ticks.values(0, 1, 4))))
  end)

  it('keeps any range in order, whatever its size', function()
    for exponent = -12, 15, 3 do
      for _, base in ipairs { 0, -1, 7.3 } do
        local low, high = base * 10.0 ^ exponent, (base + 1.7) * 10.0 ^ exponent
        local marks, from, to = ticks.values(low, high, 5)
        assert.is_true(from <= low and to >= high and #marks >= 3 and #marks <= 9)
        local seen = {}
        for _, m in ipairs(marks) do
          assert.is_nil(seen[m.text], m.text)
          seen[m.text] = true
        end
      end
    end
  end)

  it('marks times at the round hours and midnights of a zone', function()
    local berlin = assert(calendar.zone 'Europe/Berlin')
    local from = 1764543600 -- 2025-12-01 00:00 in Berlin
    assert.equal('1 Dec|06:00|12:00|18:00|2 Dec', texts(ticks.times(from, from + 86400, 5, berlin)))
    assert.equal('1 Dec|06:00|12:00|18:00', texts(ticks.times(from, from + 86400, 5))) -- of UTC
    assert.equal('Mon 1 Dec 00:00', ticks.time_text(from, berlin))
    assert.equal('Mon 1 Dec', ticks.day_text(from, berlin, from))
    assert.equal('Mon 1 Dec 2025', ticks.day_text(from, berlin, from + 366 * 86400))
  end)

  it('keeps midnight where clocks are changed', function()
    local berlin = assert(calendar.zone 'Europe/Berlin')
    local from = 1792879200 -- 2026-10-25 00:00 in Berlin; the day has 25 hours
    local marks = ticks.times(from, from + 3 * 86400, 4, berlin)
    assert.equal('25 Oct|26 Oct|27 Oct', texts(marks))
    assert.equal(25 * 3600, marks[2].at - marks[1].at)
  end)

  it('marks weeks on Mondays, and months and years at their first', function()
    local from = 1761955200 -- Saturday 2025-11-01
    local weeks = ticks.times(from, from + 38 * 86400, 8)
    assert.equal('3 Nov|10 Nov|17 Nov|24 Nov|1 Dec|8 Dec', texts(weeks))
    assert.is_true(weeks[5].major)
    assert.equal('Nov|Dec|2026|Feb|Mar', texts(ticks.times(from, from + 150 * 86400, 6)))
    assert.equal('2030|2035', texts(ticks.times(from, from + 10 * 366 * 86400, 3)))
  end)

  it('never marks more than it is asked to, nor out of the range', function()
    for _, span in ipairs { 10, 700, 9000, 86400, 1e6, 1e7, 1e8, 1e9, 2e10 } do
      for most = 2, 12 do
        local marks = ticks.times(1.7e9 + 17, 1.7e9 + 17 + span, most)
        assert.is_true(#marks <= most + 1, ('%d marks, %d, %g'):format(#marks, most, span))
        for _, m in ipairs(marks) do
          assert.is_true(m.at >= 1.7e9 + 17 and m.at <= 1.7e9 + 17 + span)
        end
      end
    end
  end)
end)
