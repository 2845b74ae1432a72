local units = require 'units'

describe('units.duration', function()
  it('reads Prometheus durations as seconds', function()
    for text, seconds in pairs { ['30s'] = 30, ['5m'] = 300, ['1h30m'] = 5400, ['2d'] = 172800,
      ['1w'] = 604800, ['1y'] = 31536000, ['100ms'] = 0.1, ['1s500ms'] = 1.5, ['0s'] = 0, ['0'] = 0,
      ['1y2w3d4h5m6s7ms'] = 31536000 + 2 * 604800 + 3 * 86400 + 4 * 3600 + 306.007,
      ['007m'] = 420 } do
      assert.equal(seconds, units.duration(text), text)
    end
  end)

  it('says what was expected where it is no duration', function()
    local expected = 'expected a duration such as "30s", "5m" or "1h30m", not '
    for text, words in pairs { ['30'] = '"30"', ['1.5h'] = '"1.5h"', ['-5m'] = '"-5m"',
      ['5 m'] = '"5 m"', ['5M'] = '"5M"', [' 5m'] = '" 5m"', ['5m '] = '"5m "', ['1h30'] = '"1h30"',
      ['five'] = '"five"', [''] = 'an empty text', ['00'] = '"00"', ['1h\0'] = '"1h\0"' } do
      assert.same({ nil, expected .. words }, { units.duration(text) })
    end
    assert.same({ nil, expected .. 'a number' }, { units.duration(30) })
    assert.same({ nil, expected .. 'a nil' }, { units.duration(nil) })
  end)

  it('names the unit that it does not know', function()
    assert.same({ nil, '"min" is no unit of time in "5min"; units are y, w, d, h, m, s, ms' },
      { units.duration '5min' })
  end)

  it('wants units from large to small, each once', function()
    for _, text in ipairs { '5m1h', '1m1m', '1ms1s' } do
      assert.same({ nil, ('units go from large to small, each once: "%s"'):format(text) },
        { units.duration(text) })
    end
  end)

  it('has the bounds of Prometheus, whose durations are 64 bits of nanoseconds', function()
    assert.equal(292 * 31536000, units.duration '292y')
    for _, text in ipairs { '293y', '9223372037s', '292y25w', '999999999999y', '300000000000y',
      '1000000000000s', ('9'):rep(400) .. 'y' } do
      local seconds, message = units.duration(text)
      assert.is_nil(seconds, text)
      assert.matches('is too long a time', message)
    end
  end)
end)

describe('units.duration_text', function()
  it('prints as Prometheus does: weeks and years only where they divide exactly', function()
    for text, seconds in pairs { ['0s'] = 0, ['1ms'] = 0.0011, ['1s500ms'] = 1.5, ['1m30s'] = 90,
      ['1w'] = 604800, ['8d'] = 691200, ['7d1h'] = 608400, ['1y'] = 31536000, ['366d'] = 31622400,
      ['2w'] = 1209600, ['2h'] = 7200.0004 } do
      assert.equal(text, units.duration_text(seconds))
    end
  end)

  it('comes back as it was', function()
    local seed = 7
    for _ = 1, 2000 do
      seed = (seed * 1103515245 + 12345) % 2147483648
      local ms = seed % (10 ^ (1 + seed % 10)) // 1
      local text = units.duration_text(ms / 1000)
      assert.is_true(math.abs(units.duration(text) - ms / 1000) < 1e-6, text)
    end
  end)
end)

describe('units.bytes', function()
  it('reads sizes, decimal and binary', function()
    for text, bytes in pairs { ['0'] = 0, ['512'] = 512, ['64Ki'] = 65536, ['16Mi'] = 16777216,
      ['1Gi'] = 1073741824, ['2k'] = 2000, ['1M'] = 1000000, ['2G'] = 2000000000 } do
      assert.equal(bytes, units.bytes(text))
    end
    assert.equal(7, units.bytes(7))
    assert.equal('integer', math.type(units.bytes '2G'))
  end)

  it('says what was expected where it is no size', function()
    for _, text in ipairs { '64KB', '64K', '1.5M', '-1', '', 'Ki', '1 M', '1T' } do
      assert.same({ nil, ('expected a size such as 65536, "64Ki" or "1M", not "%s"'):format(text) },
        { units.bytes(text) })
    end
    assert.matches('not "%-1"$', select(2, units.bytes(-1)))
    assert.matches('not "1.5"$', select(2, units.bytes(1.5)))
    assert.matches('not "true"$', select(2, units.bytes(true)))
  end)

  it('refuses what no number of bytes can hold, with words', function()
    for _, text in ipairs { '999999999999Gi', '99999999999999999999', '9007199254740993k' } do
      local bytes, message = units.bytes(text)
      assert.is_nil(bytes, text)
      assert.matches('^expected a size', message)
    end
  end)
end)

describe('units.number_text', function()
  it('gives people four digits and a prefix', function()
    for text, x in pairs { ['0'] = 0, ['1.5'] = 1.5, ['-1.5'] = -1.5, ['9999'] = 9999,
      ['10k'] = 9999.6, ['12.35k'] = 12345, ['-12.35k'] = -12345, ['1.5M'] = 1.5e6, ['2G'] = 2e9,
      ['3T'] = 3e12, ['1e+16'] = 1e16, ['0.001'] = 0.001, ['0.000123'] = 0.000123,
      ['1e-09'] = 1e-9, ['inf'] = math.huge, ['-inf'] = -math.huge, ['1M'] = 999999.9 } do
      assert.equal(text, units.number_text(x))
    end
    assert.equal('NaN', units.number_text(0 / 0))
  end)
end)
