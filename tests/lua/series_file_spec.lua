local file = require 'perigee.file'
local series_file = require 'series_file'

local folder
before_each(function() folder = assert(file.temporary_folder 'perigee-series') end)
after_each(function() os.execute(("rm -rf '%s'"):format(folder)) end)

local function write(name, text)
  local path = folder .. '/' .. name
  assert(file.write(path, text))
  return path
end

describe('series_file.read_csv', function()
  it('gives a series in order of time, named after the file', function()
    local s = assert(series_file.read_csv(write('cpu.5m.csv',
      'timestamp,label,value\n2026-01-01 00:05:00,1,2\n2026-01-01T00:00:00Z,0,\n')))
    assert.equal('cpu.5m', s.name)
    assert.same({ __name__ = 'cpu.5m' }, s.labels)
    assert.same({ 1767225600, 1767225900 }, s.ds)
    assert.is_true(s.y[1] ~= s.y[1])
    assert.same({ 2, 2 }, { #s.y, s.y[2] })
  end)

  it('says where a file is wrong', function()
    local path = write('x.csv', 'ts,y\n1,2\n2,x\n')
    assert.same({ nil, path .. ':3:3: "x" is no number' }, { series_file.read_csv(path) })
    local none, message = series_file.read_csv(folder .. '/none.csv')
    assert.is_nil(none)
    assert.matches('^cannot read .*/none.csv: No such file', message)
    assert.matches('it is no regular file$', select(2, series_file.read_csv(folder)))
  end)

  it('reads a large file on a thread while others have their turn', function()
    local async, lines = require 'async', { 'ds,y' }
    for i = 1, 400000 do lines[#lines + 1] = i .. ',1234567' end
    local path, turns, done = write('large.csv', table.concat(lines, '\n')), 0, false
    async.spawn(function()
      while not done do
        turns = turns + 1
        async.turn()
      end
    end)
    local s = assert(series_file.read_csv(path))
    done = true
    assert.same({ 400000, 400000, 1234567 }, { #s.ds, s.ds[#s.ds], s.y[7] })
    assert.is_true(turns > 0)
  end)
end)

it('series_file.time reads times as files have them', function()
  assert.equal(1767225600, series_file.time '2026-01-01')
  assert.equal(5, series_file.time '5')
  assert.is_nil(series_file.time 'soon')
end)
