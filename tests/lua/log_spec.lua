local clock = require 'perigee.clock'
local json = require 'json'
local log = require 'log'

clock.make_virtual(1767225600)

local TS = 'ts=2026-01-01T00:00:00.000Z '

--- What is logged meanwhile, as lines.
local function logged(f, ...)
  log.capture(true)
  f(...)
  local lines = {}
  for line in log.capture(false):gmatch '[^\n]+' do lines[#lines + 1] = line end
  return lines
end

local function all_levels()
  for _, level in ipairs { 'debug', 'info', 'warn', 'error' } do log[level](level) end
end

describe('log', function()
  before_each(function() log.setup('debug', false) end)

  it('has a time, a level, a message, and fields sorted by name', function()
    assert.same({ TS .. 'level=info msg=reloaded n=2 rules=12' },
      logged(log.info, 'reloaded', { rules = 12, n = 2 }))
    assert.same({ TS .. 'level=warn msg="two words"' }, logged(log.warn, 'two words'))
  end)

  it('writes numbers short, and everything else as tostring has it', function()
    assert.same({ TS .. 'level=info msg=m a=0.333333 b=1 c=true d=1e+10 e=x f=nan' },
      logged(log.info, 'm', { a = 1 / 3, b = 1.0, c = true, d = 1e10, e = 'x',
        f = math.abs(0 / 0) }))
    local described = setmetatable({}, { __tostring = function() return 'described' end })
    assert.same({ TS .. 'level=info msg=m x=described' }, logged(log.info, 'm', { x = described }))
  end)

  it('keeps a line one line, and leaves the terminal alone', function()
    local lines = logged(log.info, 'm', { a = 'x y', b = 'l1\nl2', c = 'q"q', d = '\27[31m', e = '',
      f = 'a=b' })
    assert.same({ TS .. 'level=info msg=m a="x y" b="l1\\nl2" c="q\\"q" d="\\u001b[31m" e="" '
      .. 'f="a=b"' }, lines)
  end)

  it('is silent below its level', function()
    for level, n in pairs { debug = 4, info = 3, warn = 2, error = 1, off = 0 } do
      log.setup(level, false)
      assert.equal(n, #logged(all_levels), level)
    end
    assert.is_false(pcall(log.setup, 'loud', false))
    assert.is_false(pcall(log.setup, nil, false))
  end)

  it('names the level in each line', function()
    local lines = logged(all_levels)
    for i, level in ipairs { 'debug', 'info', 'warn', 'error' } do
      assert.equal(TS .. ('level=%s msg=%s'):format(level, level), lines[i])
    end
  end)

  it('writes JSON where asked to', function()
    log.setup('info', true)
    local lines = logged(log.error, 'it "broke"', { reason = 'line 1\nline 2', n = 3 })
    assert.same({ ts = '2026-01-01T00:00:00.000Z', level = 'error', msg = 'it "broke"', n = '3',
      reason = 'line 1\nline 2' }, json.decode(lines[1]))
  end)

  it('keeps its first 24 fields', function()
    local fields = {}
    for i = 1, 30 do fields[('f%02d'):format(i)] = i end
    local line = logged(log.info, 'm', fields)[1]
    assert.matches(' f24=24$', line)
  end)

  describe('of secrets', function()
    it('shows none in a field, a message or a part of a text, in either format', function()
      log.secret 'hunter2-hunter2'
      for _, as_json in ipairs { false, true } do
        log.setup('info', as_json)
        for _, line in ipairs { logged(log.info, 'm', { a = 'hunter2-hunter2' })[1],
          logged(log.info, 'got hunter2-hunter2')[1],
          logged(log.info, 'm', { a = 'Bearer hunter2-hunter2, and again hunter2-hunter2' })[1] } do
          assert.is_nil(line:find('hunter2', 1, true), line)
          assert.is_truthy(line:find('[redacted]', 1, true), line)
        end
      end
    end)

    it('shows none that has to be escaped', function()
      log.secret 'pass"word\\with\nall'
      for _, as_json in ipairs { false, true } do
        log.setup('info', as_json)
        local line = logged(log.info, 'm', { a = 'x pass"word\\with\nall y' })[1]
        assert.is_nil(line:find('word', 1, true), line)
      end
    end)

    it('shows none in words that go elsewhere', function()
      log.secret 'hunter3-hunter3'
      assert.equal('not hunter3, [redacted]', log.redact 'not hunter3, hunter3-hunter3')
      assert.equal('', log.redact '')
    end)

    it('forgets none when another comes, and minds none that comes twice', function()
      for i = 1, 50 do log.secret(('secret-number-%02d'):format(i % 25)) end
      local line = logged(log.info, 'm', { a = 'secret-number-07 secret-number-24' })[1]
      assert.equal(TS .. 'level=info msg=m a="[redacted] [redacted]"', line)
    end)
  end)

  it('collects only while it is told to', function()
    log.capture(true)
    log.info 'one'
    assert.matches('msg=one\n$', log.capture(true))
    log.info 'two'
    local text = log.capture(false)
    assert.matches('msg=two\n$', text)
    assert.is_nil(text:find('one', 1, true))
    assert.equal('', log.capture(false))
  end)
end)
