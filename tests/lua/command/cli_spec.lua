local cli = require 'command.cli'
local file = require 'perigee.file'
local http = require 'http'
local json = require 'json'

--- What f writes to standard output and error, and what it returns.
local function written(f, ...)
  local out, err, write, stderr = {}, {}, io.write, io.stderr
  rawset(io, 'write', function(...) out[#out + 1] = table.concat { ... } end)
  rawset(io, 'stderr', { write = function(_, ...) err[#err + 1] = table.concat { ... } end })
  local results = table.pack(pcall(f, ...))
  rawset(io, 'write', write)
  rawset(io, 'stderr', stderr)
  assert(results[1], results[2])
  return table.concat(out), table.concat(err), table.unpack(results, 2, results.n)
end

local SPEC = {
  usage = 'try [--name NAME] [FILE…]', summary = 'Tries.', details = 'And tells.', most = 2,
  options = { { name = 'name', short = 'n', value = 'NAME', help = 'of it' },
    { name = 'json', help = 'as JSON' } },
}

local function parsed(...)
  local out, err, values, status = written(cli.parse, SPEC, ...)
  assert.same({ '', '', nil }, { out, err, status })
  return values
end

--- What is wrong with a command line, without the hint.
local function wrong(spec, ...)
  local out, err, values, status = written(cli.parse, spec, ...)
  assert.same({ '', nil, cli.USAGE }, { out, values, status })
  return err:match '^perigee: (.*)\nTry "perigee try %-%-help".\n$'
end

describe('cli.parse', function()
  it('takes options in every usual way, anywhere', function()
    assert.same({ 'a', 'b', name = 'x', json = true }, parsed('a', '--name', 'x', '--json', 'b'))
    assert.same({ name = 'x=y' }, parsed '--name=x=y')
    assert.same({ name = '' }, parsed '--name=')
    assert.same({ name = 'x' }, parsed('-n', 'x'))
    assert.same({ name = '--json' }, parsed('--name', '--json'))
    assert.same({ name = 'last' }, parsed('-n', 'first', '-n', 'last'))
    assert.same({}, parsed())
  end)

  it('collects an option that may be there many times', function()
    local many = { usage = 'try', options = { { name = 'file', value = 'F', many = true } } }
    local _, _, values = written(cli.parse, many, '--file', 'a', '--file=b')
    assert.same({ file = { 'a', 'b' } }, values)
  end)

  it('takes everything behind -- and a lone - for what it is', function()
    assert.same({ '--json', '-n' }, parsed('--', '--json', '-n'))
    assert.same({ '-' }, parsed '-')
  end)

  it('refuses what it does not know, with the nearest that it does', function()
    assert.equal('unknown option "--jsno"; did you mean "--json"?', wrong(SPEC, '--jsno'))
    assert.equal('unknown option "--nam"; did you mean "--name"?', wrong(SPEC, '--nam=x'))
    assert.matches('^unknown option "%-x"; known are %-%-name, %-%-json, %-%-help$',
      wrong(SPEC, '-x'))
    assert.matches('^unknown option "%-nx"', wrong(SPEC, '-nx'))
  end)

  it('refuses what is too much or too little', function()
    assert.equal('--name needs NAME', wrong(SPEC, '--name'))
    assert.equal('--name needs NAME', wrong(SPEC, '-n'))
    assert.equal('--json takes no value', wrong(SPEC, '--json=x'))
    assert.equal('"c" is one argument too many', wrong(SPEC, 'a', 'b', 'c'))
    local least = setmetatable({ least = 1 }, { __index = SPEC })
    assert.equal('Usage: perigee try [--name NAME] [FILE…]', wrong(least))
  end)

  it('shows its help, whatever else is there', function()
    local out, err, values, status = written(cli.parse, SPEC, 'a', '--help', 'b', 'c', 'd')
    assert.same({ '', nil, cli.DONE }, { err, values, status })
    assert.equal([[
Usage: perigee try [--name NAME] [FILE…]

Tries.

And tells.

Options:
  -n, --name NAME            of it
      --json                 as JSON
  -h, --help                 shows this
]], out)
  end)
end)

describe('what commands print', function()
  it('is a table with columns as wide as they must be', function()
    local out = written(cli.table, { 'ID', 'NAME', 'WHAT' },
      { { 'a', 'größer', 'x' }, { 'bcd', 'e', 'a longer text' } })
    assert.equal('ID   NAME    WHAT\na    größer  x\nbcd  e       a longer text\n', out)
  end)

  it('is harmless for a terminal, wherever it comes from', function()
    assert.equal('a?[31mb?c?d?ü', cli.plain 'a\27[31mb\nc\127d\xC2\x9Bü')
    assert.equal('5', cli.plain(5))
    local out = written(cli.table, { 'A' }, { { 'x\27]0;title\7' } })
    assert.equal('A\nx?]0;title?\n', out)
  end)

  it('has no colour where there is no terminal', function()
    assert.equal('text', cli.colour('red', 'text'))
  end)

  it('is labels as Prometheus prints them', function()
    assert.equal('app="shop", zone="a\\"b"', cli.labels_text { zone = 'a"b', app = 'shop' })
    assert.equal('', cli.labels_text(nil))
  end)

  it('is a time for people', function()
    assert.equal('2026-11-22 17:18:00Z', cli.time_text '2026-11-22T17:18:00.000Z')
    assert.equal('-', cli.time_text(nil))
  end)

  it('is one JSON document', function()
    local out = written(cli.print_json, json.array { { a = 1 } })
    assert.same({ { a = 1 } }, json.decode(out))
    assert.equal('\n', out:sub(-1))
  end)
end)

describe('cli.ask', function()
  --- Asks a service that gives one answer; returns what cli.ask does, and what it saw.
  local function ask(answer, values, ...)
    local asked
    local server = assert(http.serve({}, function(request)
      asked = request
      return answer
    end))
    values = values or {}
    values.url = ('http://127.0.0.1:%d/'):format(server:port())
    local results = table.pack(cli.ask(values, ...))
    server:close()
    return asked, table.unpack(results, 1, results.n)
  end

  it('asks as the command line, with a token where there is one', function()
    local asked, answer = ask({ body = '{"status":"success","data":[1]}' }, nil, 'GET',
      '/api/v1/plans')
    assert.same({ 'GET', '/api/v1/plans', 'cli', '' },
      { asked.method, asked.path, asked.headers['x-perigee-client'], asked.body })
    assert.is_nil(asked.headers.authorization)
    assert.same({ status = 200, data = { 1 } }, answer)
    local folder = assert(file.temporary_folder 'perigee-cli')
    assert(file.write(folder .. '/token', 'the-token-of-anna\n'))
    asked = ask({}, { ['token-file'] = folder .. '/token' }, 'POST', '/x', { a = 1 })
    os.execute(("rm -r '%s'"):format(folder))
    assert.same({ 'POST', 'Bearer the-token-of-anna', 'application/json', '{"a":1}' },
      { asked.method, asked.headers.authorization, asked.headers['content-type'], asked.body })
  end)

  it('returns what is wrong, as JSON or as text', function()
    local _, answer = ask({ status = 409, body = '{"status":"error","error":"too late"}' }, nil,
      'GET', '/')
    assert.same({ status = 409, error = 'too late' }, answer)
    _, answer = ask({ status = 502, body = ' <html>\n' }, nil, 'GET', '/')
    assert.same({ status = 502, error = '<html>' }, answer)
  end)

  it('tells a service that is not there from a command line that is wrong', function()
    local answer, message, status = cli.ask({ url = 'http://127.0.0.1:1' }, 'GET', '/')
    assert.is_nil(answer)
    assert.matches('^no perigee answers at http://127.0.0.1:1: ', message)
    assert.equal(cli.OUTSIDE, status)
    answer, message, status = cli.ask({ url = 'http://a/?b' }, 'GET', '/')
    assert.same({ nil, '--url: expected an address without a query', cli.USAGE },
      { answer, message, status })
    status = select(3, cli.ask({ ['token-file'] = '/no/such' }, 'GET', '/'))
    assert.equal(cli.USAGE, status)
  end)

  it('goes on only with data, and else tells what is wrong, on one line', function()
    local function get(answer)
      local server = assert(http.serve({}, function() return answer end))
      local out, err, data, status = written(cli.get,
        { url = ('http://127.0.0.1:%d'):format(server:port()) }, 'GET', '/')
      server:close()
      assert.equal('', out)
      return err, data, status
    end
    assert.same({ '', { 1 } }, { get { body = '{"data":[1]}' } })
    assert.same({ 'perigee: too late (status 409)\n', nil, cli.OUTSIDE },
      { get { status = 409, body = '{"error":"too late"}' } })
    assert.same({ 'perigee: an answer that is no perigee\'s (status 200)\n', nil, cli.OUTSIDE },
      { get { body = '{}' } })
    local err = get { status = 502, body = '\27[2J' .. ('x\n'):rep(1000) }
    assert.matches('^perigee: %?%[2Jx%?x.* %(status 502%)\n$', err)
    assert.is_true(#err < 600)
  end)
end)
