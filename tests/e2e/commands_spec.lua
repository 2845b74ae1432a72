--- The command line as scripts and people use it: words on standard output, complaints on standard
--- error, and an exit status that says which it was.
local fake = require 'fakes.prometheus'
local json = require 'json'
local process = require 'perigee.process'
local world = require 'e2e.world'

local COMMANDS <const> = { 'run', 'check', 'reload', 'status', 'incidents', 'approvals', 'approve',
  'reject', 'why', 'trust', 'storm', 'kill', 'audit', 'lua', 'demo', 'version' }
--- Those that talk to a running perigee, with the arguments that they need.
local REMOTE <const> = { { 'reload' }, { 'status' }, { 'incidents' },
  { 'incidents', 'ack', 'inc-0' }, { 'approvals' }, { 'approve', 'plan-0' },
  { 'reject', 'plan-0' }, { 'why', 'plan-0' }, { 'why-not', 'mend' }, { 'trust' },
  { 'trust', 'restore', 'mend' }, { 'storm' }, { 'storm', 'end' }, { 'kill', 'on' },
  { 'audit' }, { 'audit', '--verify' } }

local w
before_each(function() w = world.new() end)
after_each(function() w:close() end)

local function has(text, words) assert.truthy(text:find(words, 1, true), text) end

--- The command's words, then more.
local function with(command, ...)
  local words = { table.unpack(command) }
  for _, word in ipairs { ... } do words[#words + 1] = word end
  return table.unpack(words)
end

describe('every command', function()
  it('has its help', function()
    local status, all = w:cli '--help'
    assert.equal(0, status)
    for _, name in ipairs(COMMANDS) do
      has(all, '\n  ' .. name .. ' ')
      local long = { w:cli(name, '--help') }
      assert.same({ 0, '' }, { long[1], long[3] })
      assert.equal('Usage: perigee ' .. name, long[2]:match '^Usage: perigee %a+')
      assert.same(long, { w:cli(name, '-h') })
      assert.same(long, { w:cli('help', name) })
    end
  end)

  it('is the only one of its name, and knows what it takes', function()
    local function wrong(words, ...)
      local status, out, err = w:cli(...)
      assert.same({ 2, '' }, { status, out })
      has(err, words)
    end
    wrong 'Usage: perigee COMMAND'
    wrong('did you mean "status"?', 'statsu')
    for _, name in ipairs(COMMANDS) do
      if name ~= 'lua' then wrong('unknown option "--nonsense"', name, '--nonsense') end
    end
    for _, command in ipairs(REMOTE) do
      wrong('--url needs URL', with(command, '--url'))
      wrong('did you mean "--json"?', with(command, '--jsom'))
    end
    wrong('Usage: perigee approve ID', 'approve')
    wrong('is no id of a plan', 'approve', '../status')
    wrong('expected "on" or "off"', 'kill', 'perhaps')
    wrong('expected "perigee incidents ack ID"', 'incidents', 'acknowledge', 'inc-0')
    wrong('one argument too many', 'status', 'now')
    wrong('--head goes with --verify', 'audit', '--head', 'x')
    wrong('Usage: perigee lua', 'lua')
  end)

  it('that finds nobody says so, and ends with 3', function()
    for _, command in ipairs(REMOTE) do
      for _, format in ipairs { '--url=http://127.0.0.1:1', '--json' } do
        local status, out, err = w:cli(with(command, '--url', 'http://127.0.0.1:1', format))
        assert.same({ 3, '' }, { status, out })
        has(err, 'perigee: no perigee answers at http://127.0.0.1:1')
      end
      local status, _, err = w:cli(with(command, '--token-file', w:path 'not-there'))
      assert.equal(2, status)
      has(err, 'not-there')
    end
  end)
end)

describe('a running perigee', function()
  it('is asked, told and checked from the command line', function()
    local source = fake.serve()
    source.values.x = 9
    local p = w:perigee { source = source.url, tokens = { admin = 'admin', vera = 'viewer' },
      config = 'guardrails: { http: [ { url_prefix: "http://127.0.0.1:1/" } ] }\n',
      rules = { ['x.lua'] = [[
signal "x" { query = "x", every = "1s", detector = threshold { above = 5 } }
incident "odd" { signals = { "x" }, min_signals = 1 }
playbook "act" { when = incident "odd", trust = "human_approve", plan = {
  http.request { method = "POST", url = "http://127.0.0.1:1/" } } }]] } }
    local plan = w:wait_for('a plan', 15, function() return p:get('/api/v1/approvals')[1] end)
    local incident = p:get('/api/v1/incidents')[1]
    --- The result of a command with --json, which must be one document.
    local function document(...)
      local status, out, err = p:cli('admin', with({ ... }, '--json'))
      assert.same({ 0, '' }, { status, err })
      return assert(json.decode(out))
    end
    local function words(...)
      local status, out, err = p:cli('admin', ...)
      assert.same({ 0, '' }, { status, err })
      assert.is_nil(out:find('\27', 1, true))
      return out
    end

    assert.same(p:get '/api/v1/incidents', document 'incidents')
    assert.same(p:get '/api/v1/approvals', document 'approvals')
    assert.same({}, document('incidents', '--state', 'resolved'))
    assert.same(p:get('/api/v1/audit').records, document 'audit')
    assert.equal('act', document('approvals')[1].playbook)
    local status = document 'status'
    assert.same({ p:get('/api/v1/status').audit_head, 'x' },
      { status.audit_head, status.signals_list[1].name })
    local proof = document('audit', '--verify')
    assert.same({ true, status.audit_head }, { proof.ok, proof.head })

    has(words 'status', 'dry run')
    has(words 'incidents', incident.id)
    has(words 'approvals', plan.digest)
    has(words 'audit', 'plan_created')
    has(words('audit', '--verify'), 'the trail is whole: ')
    assert.equal('acknowledged', document('incidents', 'ack', incident.id).state)
    assert.is_true(document('kill', 'on').on)
    has(words('kill', 'off'), 'the kill switch is off')
    assert.same({ ok = true, status = 200, message = 'nothing has changed' }, document 'reload')
    assert.equal('rejected', document('reject', plan.id, '--reason', 'no').state)
    has(words 'approvals', 'no plan waits for a decision')

    local head = ('0'):rep(63) .. '1'
    assert.equal(1, (p:cli('vera', 'audit', '--verify', '--head', head)))
    for _, refused in ipairs { { 'vera', 'kill', 'on' }, { 'vera', 'reload' },
      { nil, 'status' }, { 'vera', 'approve', plan.id }, { 'admin', 'approve', plan.id },
      { 'admin', 'incidents', 'ack', 'inc-0' } } do
      local code, out, err = p:cli(table.unpack(refused, 1, 4))
      assert.same({ 3, '' }, { code, out }, table.concat(refused, ' ', 2))
      assert.truthy(err:find '%(status 4%d%d%)\n$' or err:find 'this needs admin', err)
    end
    local child = assert(process.start { 'env', 'PERIGEE_TOKEN_FILE=' .. p.files.vera, w.program,
      'status', '--url', p.url })
    assert.equal(0, (child:wait(30)))
    source.close()
  end)

  it('is shown in colour on a terminal that wants it, and nowhere else', function()
    local source = fake.serve()
    local p = w:perigee { source = source.url }
    local function on_terminal(setting)
      local line = ('TERM=xterm %s %s status --url %s'):format(setting, w.program, p.url)
      return select(2, assert(process.start { 'script', '-qec', line, '/dev/null' }):wait(30))
    end
    assert.truthy(on_terminal(''):find('\27[1mSIGNAL', 1, true))
    assert.is_nil(on_terminal('NO_COLOR=1'):find('\27', 1, true))
    source.close()
  end)
end)

describe('perigee check', function()
  local GOOD <const> = 'signal "a" { query = "a", detector = threshold { above = 1 } }\n'
  local function config(rules)
    local p = w:configure { rules = rules }
    return p.config
  end

  it('finds nothing wrong with what is right', function()
    local status, out, err = w:cli('check', '-c', config { ['a.lua'] = GOOD })
    assert.same({ 0, '' }, { status, err })
    has(out, '1 rule files: 1 signals, 0 incidents, 0 playbooks; nothing is wrong')
    status, out = w:cli('check', '--json', w:path 'perigee/rules')
    assert.equal(0, status)
    assert.same({}, json.decode(out).errors)
  end)

  it('tells every error, one a line, each with its place', function()
    local path = config { ['a.lua'] = GOOD .. 'signal "a" {\n  querry = "a",\n}\n',
      ['b.lua'] = 'x = = 1\n' }
    local status, out, err = w:cli('check', '-c', path)
    assert.same({ 1, '' }, { status, out })
    for line in err:gmatch '[^\n]+' do
      assert.truthy(line:find '^/%S+/[ab]%.lua:%d+[:%d]*: ', line)
    end
    has(err, 'a.lua:3:3: signal "a": unknown option "querry"; did you mean "query"?')
    has(err, 'b.lua:1: ')
    local code, document = w:cli('check', '--json', '-c', path)
    assert.equal(1, code)
    local n = 0
    for _, e in ipairs(json.decode(document).errors) do
      n = n + 1
      assert.same({ 'string', 'number', 'string' }, { type(e.file), type(e.line), type(e.message) })
    end
    assert.equal(select(2, err:gsub('\n', '')), n)
  end)

  it('ends with 2 when the configuration is wrong', function()
    local p = w:configure { config = 'rulez: []\n' }
    local status, out, err = w:cli('check', '-c', p.config)
    assert.same({ 2, '' }, { status, out })
    has(err, 'perigee.yaml:5:1: unknown key "rulez"; did you mean "rules"?')
    assert.equal(2, (w:cli('check', '-c', w:path 'not-there.yaml')))
    assert.equal(1, (w:cli('check', w:path 'not-there.lua')))
  end)
end)

describe('perigee lua', function()
  it('runs scripts and code, with arguments, and ends as they say', function()
    local script = w:write('script.lua', [[
print(arg[0]:match '[^/]*$', arg[1], require 'units'.duration '5m', ...)
require 'async'.sleep(0.01)
os.exit(tonumber(arg[2]))]])
    assert.same({ 7, 'script.lua\tone\t300\tone\t7\n', '' },
      { w:cli('lua', script, 'one', '7') })
    assert.same({ 0, '2\n', '' }, { w:cli('lua', '-e', 'print(...)', '2') })
    local status, _, err = w:cli('lua', w:write('fails.lua', '\nerror "no"'))
    assert.equal(1, status)
    has(err, 'fails.lua:2: no')
    assert.equal(1, (w:cli('lua', w:path 'not-there.lua')))
    assert.equal(1, (w:cli('lua', '-e', 'x = = 1')))
  end)

  it('runs Busted', function()
    local busted = select(2, assert(process.start { 'sh', '-c', 'command -v busted' }):wait())
      :match '%S+'
    local passes = w:write('passes_spec.lua',
      'describe("x", function() it("y", function() assert.equal(1, 1) end) end)')
    local fails = w:write('fails_spec.lua', 'it("y", function() assert.equal(1, 2) end)')
    local status, out = w:cli('lua', busted, passes)
    assert.equal(0, status)
    has(out, '1 success')
    assert.equal(1, (w:cli('lua', busted, fails)))
  end)
end)

describe('perigee version', function()
  it('names itself and its libraries', function()
    local status, out = w:cli 'version'
    assert.equal(0, status)
    assert.truthy(out:find '^perigee %d+%.%d+%.%d+\n')
    local document = json.decode(select(2, w:cli('version', '--json')))
    assert.equal('perigee', document.name)
    for _, name in ipairs { 'Lua', 'libuv', 'libcurl', 'libmicrohttpd', 'SQLite' } do
      assert.equal('string', type(document.libraries[name]))
      has(out, name)
    end
    assert.same({ 0, out, '' }, { w:cli '--version' })
  end)
end)
