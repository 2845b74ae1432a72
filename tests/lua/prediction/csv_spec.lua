local csv = require 'prediction.csv'
local file = require 'perigee.file'

describe('a CSV file of features', function()
  local folder
  setup(function() folder = assert(file.temporary_folder 'perigee-spec') end)
  teardown(function() os.execute(("rm -rf '%s'"):format(folder)) end)

  local function write(text)
    local path = folder .. '/x.csv'
    assert(file.write(path, text))
    return path
  end

  it('has the columns that its first line names', function()
    local path = write '\xEF\xBB\xBFa,"b ""c"", d",e,\r\n'
    assert.same({ 'a', 'b "c", d', 'e', '' }, csv.columns(path))
    local _, message = csv.columns(write '')
    assert.matches('is empty', message)
    _, message = csv.columns(folder .. '/none.csv')
    assert.matches('^cannot read .*none.csv', message)
  end)

  it('is trained on: all columns but the label and the time', function()
    local path = write 'when,cpu,y,disk\n2026-01-01T00:00:00Z,1,0,\n2026-01-01 00:01:00,2,1,5\n'
    local data = assert(csv.training(path, 'y', { time = 'when' }))
    assert.same({ 'cpu', 'disk' }, data.X.names)
    assert.same({ 0, 1 }, data.y)
    assert.same({ 1767225600, 1767225660 }, data.times)
    assert.is_true(data.X:get(1, 2) ~= data.X:get(1, 2))
    assert.same({ 'disk' }, csv.training(path, 'y', { features = { 'disk' } }).X.names)
  end)

  it('may count its time in numbers', function()
    local path = write 'cycle,cpu,y\n5,1,0\n6,2,1\n'
    assert.same({ 5, 6 }, csv.training(path, 'y', { time = 'cycle' }).times)
    assert.is_nil(csv.training(path, 'y', {}).times)
    local times = csv.training(write 'cycle,cpu,y\n,1,0\n6,2,1\n', 'y', { time = 'cycle' }).times
    assert.is_true(times[1] ~= times[1] and times[2] == 6)
    times = csv.training(write 'at,cpu,y\n,1,0\n1970-01-01T00:00:09Z,2,1\n', 'y',
      { time = 'at' }).times
    assert.is_true(times[1] ~= times[1] and times[2] == 9)
  end)

  it('is refused with what is wrong', function()
    local path = write 'when,cpu,y\n2026-01-01T00:00:00Z,1,0\nyesterday,x,1\n'
    local function wrong(label, o) return select(2, csv.training(path, label, o)) end
    assert.matches('x.csv:1: there is no column "yy"; did you mean "y"%?', wrong('yy', {}))
    assert.matches('no column "wen"; did you mean "when"', wrong('y', { time = 'wen' }))
    assert.matches('"y" is the label and cannot be', wrong('y', { features = { 'y' } }))
    assert.matches('"when" is the time', wrong('y', { time = 'when', features = { 'when' } }))
    assert.matches('x.csv:3:11: .*%-%-features names the columns', wrong('y', { time = 'when' }))
    assert.matches('x.csv:3: "yesterday" is no time', select(2, csv.training(
      write 'when,cpu,y\n2026-01-01T00:00:00Z,1,0\nyesterday,1,1\n', 'y', { time = 'when' })))
    assert.matches('x.csv:1: column 1 has no name; %-%-features',
      select(2, csv.training(write ',cpu,y\n1,1,0\n', 'y', {})))
    assert.same({ 'cpu' }, csv.training(write ',cpu,y\n1,1,0\n', 'y',
      { features = { 'cpu' } }).X.names)
    assert.matches('column "y": "no" is no number$',
      select(2, csv.training(write 'cpu,y\n1,no\n', 'y', {})))
    assert.matches('no feature beside the label', select(2, csv.training(write 'y\n1\n', 'y', {})))
  end)

  it('gives the rows to predict for, by name, and what it lacks', function()
    local m, missing = csv.rows(write 'host,b,a\nx,1,2\n', { 'a', 'b', 'c' })
    assert.same({ 'a', 'b' }, m.names)
    assert.same({ { 2, 1 } }, m:to_rows())
    assert.same({ 'c' }, missing)
    local _, message = csv.rows(write 'host\nx\n', { 'a', 'b' })
    assert.matches('no column is a feature of the model, which are a, b', message)
  end)

  it('has times in every notation', function()
    assert.equal(1795881600, csv.time '2026-11-28T16:00:00Z')
    assert.equal(1795881600.5, csv.time '2026-11-28 16:00:00.5')
    assert.equal(1795878000, csv.time '2026-11-28T16:00:00+01:00')
    assert.equal(951782400, csv.time '2000-02-29T00:00:00Z')
    assert.equal(-1, csv.time '1969-12-31T23:59:59Z')
    assert.equal(1795824000, csv.time '2026-11-28')
    assert.equal(1e15, csv.time '1e15')
    for _, text in ipairs { 'x', '2026-13-01T00:00:00Z', '2026-02-29 00:00:00',
      '2026-01-01T24:00:00Z', '2026-01-01T00:00:00+1' } do
      assert.is_nil(csv.time(text), text)
    end
  end)
end)
