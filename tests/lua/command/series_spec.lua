local clock = require 'perigee.clock'
local cli = require 'command.cli'
local fakes = require 'fakes.prometheus'
local file = require 'perigee.file'
local series = require 'command.series'

local DEFAULTS = { history = '1h', step = '5m' }
local SPEC = { usage = 'try', summary = '', most = 1, options = series.OPTIONS }

local folder
before_each(function() folder = assert(file.temporary_folder 'perigee-series') end)
after_each(function() os.execute(("rm -rf '%s'"):format(folder)) end)

local function write(name, text)
  assert(file.write(folder .. '/' .. name, text))
  return folder .. '/' .. name
end

--- What a command line gives: the series or a status, and what was told.
local function load(...)
  local told, stderr = {}, io.stderr
  rawset(io, 'stderr', { write = function(_, ...) told[#told + 1] = table.concat { ... } end })
  local ok, list, status = pcall(function(...)
    return series.load(assert(cli.parse(SPEC, ...)), DEFAULTS)
  end, ...)
  rawset(io, 'stderr', stderr)
  assert(ok, list)
  return list or status, table.concat(told)
end

describe('series from files', function()
  it('come in the order of the files, whole', function()
    local a, b = write('a.csv', 'ts,y\n1,2\n7200,3\n'), write('b.csv', 'ds,value\n1,\n')
    local list, told = load('--data', a, '--data=' .. b)
    assert.equal('', told)
    assert.same({ 'a', 'b' }, { list[1].name, list[2].name })
    assert.same({ { 1, 7200 }, { 2, 3 } }, { list[1].ds, list[1].y })
  end)

  it('are cut to the history asked for', function()
    local a = write('a.csv', 'ts,y\n0,1\n60,2\n120,3\n')
    assert.same({ { 60, 120 }, { 2, 3 } },
      { load('--data', a, '--history', '1m')[1].ds, load('--data', a, '--history', '1m')[1].y })
  end)

  it('must be there and hold something', function()
    assert.same({ 2, 'perigee: cannot read /no/such.csv: No such file or directory\n' },
      { load('--data', '/no/such.csv') })
    assert.same({ 2, ('perigee: %s/a.csv: there is no row but the first\n'):format(folder) },
      { load('--data', write('a.csv', 'ts,y\n')) })
  end)
end)

describe('series from a source', function()
  local source
  before_each(function() source = fakes.serve() end)
  after_each(function() source:close() end)

  it('are asked for on the grid of the step', function()
    clock.make_virtual(1000000123)
    source.values.q = function(t)
      return { { labels = { __name__ = 'm', a = 'b' }, value = t / 300 }, { labels = {},
        value = 1 } }
    end
    local list, told = load('q', '--url', source.url)
    clock.make_real()
    assert.equal('', told)
    assert.same({ 'm', 'q' }, { list[1].name, list[2].name })
    assert.same({ __name__ = 'm', a = 'b' }, list[1].labels)
    assert.equal(13, #list[1].ds)
    assert.equal(1000000123 // 300 * 300, list[1].ds[13])
    assert.equal(list[1].ds[13] / 300, list[1].y[13])
  end)

  it('come from the source of a configuration too', function()
    source.values.q = 1
    local path = write('perigee.yaml', ('source: { prometheus: { url: "%s" } }'):format(source.url))
    assert.equal(3, #load('q', '-c', path, '--history', '2m', '--step', '1m')[1].ds)
  end)

  it('may not be there, or not to be had', function()
    assert.same({ 1, 'perigee: the source has no series for this expression\n' },
      { load('none', '--url', source.url) })
    source.answer = function()
      return fakes.json({ status = 'error', errorType = 'bad_data', error = 'parse error' }, 400)
    end
    assert.same({ 2, 'perigee: parse error\n' }, { load('(', '--url', source.url) })
    local status, told = load('q', '--url', 'http://127.0.0.1:1')
    assert.equal(3, status)
    assert.matches('^perigee: ', told)
  end)
end)

it('a command line that makes no sense is refused', function()
  local function refused(pattern, ...)
    local status, told = load(...)
    assert.equal(2, status)
    assert.matches(pattern, told)
  end
  refused 'what of%? an expression, or %-%-data FILE'
  refused('one of EXPR and %-%-data', 'q', '--data', 'x')
  refused('%-%-url has no use with %-%-data', '--url', 'http://a', '--data', 'x')
  refused('one of %-%-url and %-%-config', 'q', '--url', 'http://a', '-c', 'x')
  refused('%-%-url: expected a URL', 'q', '--url', 'shop')
  refused('%-%-history: expected a duration', 'q', '--history', 'long')
  refused('%-%-step: expected a time above 0', 'q', '--step', '0')
  refused('where from%?', 'q')
end)
