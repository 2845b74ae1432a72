local calendar = require 'calendar'

local function zone(name) return assert(calendar.zone(name)) end

local function failure(f, ...)
  local ok, message = pcall(f, ...)
  assert.is_false(ok)
  return message
end

-- What `date` says.
local function date(t, name)
  local command = ("TZ='%s' date -d @%d '+%%Y-%%m-%%d %%H:%%M:%%S %%u'"):format(name, t)
  local pipe <close> = assert(io.popen(command))
  return pipe:read('l')
end

local function shown(t, z)
  local c = calendar.time(t, z)
  return ('%04d-%02d-%02d %02d:%02d:%02d %d'):format(c.year, c.month, c.day, c.hour, c.minute,
    c.second,
    c.weekday + 1)
end

describe('calendar', function()
  it('counts hours of the week from Monday', function()
    assert.equal(72, calendar.hour_of_week(0)) -- a Thursday
    assert.equal(0, calendar.hour_of_week(4 * 86400))
    assert.equal(167, calendar.hour_of_week(4 * 86400 - 0.5))
    assert.equal(167, calendar.hour_of_week(-3 * 86400 - 1))
    assert.equal(3, calendar.weekday(0))
    assert.equal(23, calendar.hour_of_day(-1))
  end)

  it('knows zones by name, and UTC without a file', function()
    assert.equal(0, calendar.offset(0, zone 'UTC'))
    assert.equal(7200, calendar.offset(1720000000, zone 'Europe/Berlin'))
    assert.equal(3600, calendar.offset(1704067200, zone 'Europe/Berlin'))
    assert.equal(-5 * 3600, calendar.offset(1704067200, zone 'Etc/GMT+5'))
  end)

  it('says what date says', function()
    local names = { 'UTC', 'Europe/Berlin', 'America/New_York', 'Australia/Sydney', 'Asia/Kolkata',
      'Australia/Lord_Howe', 'America/St_Johns', 'Pacific/Chatham' }
    local instants = { 0, 1711846799, 1711846800, 1729990799, 1729990800, 1712419200, 1728144000,
      2540289600, 2556230400, 4102444799, -1000000000 } -- around changes; 2050; 2099
    for _, name in ipairs(names) do
      local z = zone(name)
      for _, t in ipairs(instants) do assert.equal(date(t, name), shown(t, z), name) end
    end
  end)

  it('gives the wall clock in parts', function()
    assert.same({ year = 2050, month = 7, day = 1, hour = 14, minute = 0, second = 0, weekday = 4,
      offset = 7200 }, calendar.time(2540289600, zone 'Europe/Berlin'))
  end)

  it('turns dates into days and back', function()
    assert.equal(0, calendar.days_from_civil(1970, 1, 1))
    assert.equal(19782, calendar.days_from_civil(2024, 2, 29))
    assert.equal(calendar.days_from_civil(2023, 3, 1), calendar.days_from_civil(2023, 2, 29))
    assert.same({ 2024, 2, 29 }, { calendar.civil_from_days(19782) })
    assert.same({ 1969, 12, 31 }, { calendar.civil_from_days(-1) })
  end)

  it('returns nil and the reason for what is no zone', function()
    for _, name in ipairs { 'Europe/Berln', '', '/etc/passwd', '../../../etc/passwd',
      'Europe/../UTC',
      'Europe', 'a\0b', ('x'):rep(500) } do
      local z, message = calendar.zone(name)
      assert.is_nil(z)
      assert.matches('^unknown time zone ', message)
    end
    assert.same({ nil, 'time zone "leapseconds": no TZif file, or a part of one' },
      { calendar.zone 'leapseconds' })
  end)

  it('raises for the caller\'s mistakes, in the caller\'s line', function()
    local here = debug.getinfo(1, 'l').currentline
    assert.matches('calendar_spec%.lua:' .. here + 2 .. ': ',
      failure(function() local h = calendar.hour_of_week('x') return h end))
    assert.matches('Unix seconds', failure(calendar.weekday, 0 / 0))
    assert.matches('Unix seconds', failure(calendar.time, 1e300))
    assert.matches('perigee.zone expected', failure(calendar.weekday, 0, 'UTC'))
    assert.matches('out of range', failure(calendar.days_from_civil, 2024, 13, 1))
    local z = zone 'Europe/Berlin'
    z:close()
    assert.matches('already closed', failure(calendar.offset, 0, z))
  end)
end)
