local file = require 'perigee.file'
local support = require 'lua.command.support'

local SOURCE = 'source: { prometheus: { url: "http://127.0.0.1:9090" } }\n'
local GOOD = 'signal "a" { query = "q", detector = threshold { above = 1 } }\n'

local folder
before_each(function() folder = assert(file.temporary_folder 'perigee-check') end)
after_each(function() os.execute(("rm -rf '%s'"):format(folder)) end)

local function write(name, text)
  local path = folder .. '/' .. name
  assert(file.make_folder(path:match '^(.*)/'))
  assert(file.write(path, text))
  return path
end

--- Runs `perigee check` in the folder: status, standard output, and the lines of standard error.
local function run(...)
  local result = support.run { cwd = folder, 'check', ... }
  local lines = {}
  for line in result.err:gmatch '[^\n]+' do lines[#lines + 1] = line end
  return result.status, result.out, lines
end

describe('perigee check', function()
  it('explains itself', function()
    support.explains_itself('check', { 'config', 'url', 'json' })
  end)

  it('says what there is where nothing is wrong', function()
    write('perigee.yaml', SOURCE)
    write('rules/a.lua', GOOD)
    write('rules/b.lua', 'incident "i" { signals = { "a" }, min_signals = 1 }')
    local words = '2 rule files: 1 signals, 1 incidents, 0 playbooks; nothing is wrong\n'
    assert.same({ 0, words, {} }, { run() })
    assert.same({ 0, words, {} }, { run('-c', 'perigee.yaml') })
    assert.same({ 0, words, {} }, { run('--config=' .. folder .. '/perigee.yaml') })
  end)

  it('tells every error of configuration and rules in one run', function()
    write('perigee.yaml', SOURCE .. 'lisen: 1\nlifecycle: 2\n')
    write('rules/a.lua', '\nsignal "a" { quer = "q", detector = threshold {} }\n')
    write('rules/b.lua', 'signal "b" {')
    local status, out, lines = run()
    assert.same({ 2, '' }, { status, out })
    assert.same({
      'perigee.yaml:2:1: unknown key "lisen"; did you mean "listen"?',
      'perigee.yaml:3:1: lifecycle: expected true or false, not 2',
    }, { lines[1], lines[2] })
    local rest = table.concat(lines, '\n', 3)
    assert.matches('rules/a.lua:2:%d+: signal "a": unknown option "quer"; did you mean "query"%?',
      rest)
    assert.matches('rules/a.lua:2:%d+: signal "a": detector: threshold: one of "above" and '
      .. '"below" is needed', rest)
    assert.matches('rules/b.lua:1: ', rest)
  end)

  it('ends with 1 where only rules are wrong, with 2 where there is no configuration', function()
    write('perigee.yaml', SOURCE)
    write('rules/a.lua', 'signal "a" {}')
    assert.equal(1, (run()))
    local status, _, lines = run('-c', 'none.yaml')
    assert.equal(2, status)
    assert.same({ 'none.yaml: cannot read none.yaml: No such file or directory' }, lines)
  end)

  it('takes files and folders, without a configuration', function()
    local path = write('one.lua', GOOD)
    write('rules/b.lua', 'incident "i" { signals = { "a" }, min_signals = 1 }')
    assert.equal(0, (run(path, 'rules')))
    assert.equal(0, (run(path, 'rules/')))
    local status, _, lines = run('rules/b.lua')
    assert.equal(1, status)
    assert.matches('^rules/b.lua:1:%d+: .*"a"', lines[1])
    status, _, lines = run(path, 'none.lua')
    assert.equal(1, status)
    assert.same({ 'none.lua: cannot read none.lua: No such file or directory' }, lines)
  end)

  it('counts forecasts where there are any', function()
    write('a.lua', 'forecast "a" { query = "q" }')
    local status, out = run 'a.lua'
    assert.same({ 0, '1 rule files: 0 signals, 0 incidents, 0 playbooks, 1 forecasts; nothing is '
      .. 'wrong\n' }, { status, out })
  end)

  it('gives warnings, and ends with 0 all the same', function()
    write('a.lua', 'signal "a" { query = "q", detector = threshold { above = 1 },\n'
      .. '  labels = { x = "{{ $value }}" } }')
    local status, out, lines = run 'a.lua'
    assert.equal(0, status)
    assert.matches('nothing is wrong', out)
    assert.matches('^a.lua:2:%d+: warning: .*the value is part of this label', lines[1])
  end)

  it('is one document with --json', function()
    write('a.lua', 'signal "a" { query = "q", detector = threshold { above = 1 },\n'
      .. '  labels = { x = "{{ $value }}" }, evry = "1m" }')
    local result = support.run { cwd = folder, 'check', '--json', 'a.lua' }
    assert.equal(1, result.status)
    local document = support.document(result)
    assert.equal(1, #document.errors)
    local e = document.errors[1]
    assert.same({ 'a.lua', 2, 'number' }, { e.file, e.line, type(e.column) })
    assert.matches('evry', e.message)
    assert.equal('', result.err)
    write('b.lua', GOOD)
    result = support.run { cwd = folder, 'check', '--json', 'b.lua' }
    assert.equal(0, result.status)
    assert.same({ errors = {}, warnings = {} }, support.document(result))
    assert.matches('"errors": %[%]', result.out)
  end)

  it('keeps secrets to itself', function()
    write('token', 'the-token-of-alice')
    write('perigee.yaml', SOURCE .. [[
auth: { tokens: [ { name: a, role: admin, token_file: token },
                  { name: b, role: admin, token_file: token } ] }
]])
    local status, out, lines = run()
    assert.equal(2, status)
    assert.is_nil((out .. table.concat(lines)):find('the-token-of-alice', 1, true))
  end)

  it('asks the Prometheus of --url whether it can read the expressions', function()
    local fake = require('fakes.prometheus').serve()
    local path = write('r.yaml', [[
groups:
- name: g
  rules:
  - { record: r, expr: good }
  - alert: A
    expr: bad
]])
    local lua = write('r.lua', 'signal "s" { query = "bad", detector = threshold { above = 1 } }\n')
    local asked = {}
    function fake.answer(_, query)
      asked[#asked + 1] = query
      if query == 'bad' then
        return require('fakes.prometheus').json({ status = 'error', errorType = 'bad_data',
          error = 'parse error:\n  no' }, 400)
      end
    end
    assert.same({ 1, '', {
      lua .. ':1: signal "s": expr: the source says: parse error: no',
      path .. ':6:5: group "g", rule 2 ("A"): expr: the source says: parse error: no',
    } }, { run('--url', fake.url, path, lua) })
    assert.equal(3, #asked)
    os.remove(lua)
    write('r.yaml', 'groups: [ { name: g, rules: [ { alert: A, expr: good } ] } ]')
    assert.equal(0, (run('--url', fake.url, path)))
    fake:close()
    local status, _, lines = run('--url', fake.url, path)
    assert.equal(3, status)
    assert.matches('^perigee: http://127.0.0.1:%d+ cannot be asked: ', lines[1])
    assert.equal(2, (run('--url', 'nowhere', path)))
  end)
end)
