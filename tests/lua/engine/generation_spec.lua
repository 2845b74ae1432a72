local daemon = require 'fakes.daemon' -- before what requires the real one
local audit = require 'engine.audit'
local clock = require 'perigee.clock'
local file = require 'perigee.file'
local generation = require 'engine.generation'
local guardrails = require 'engine.guardrails'
local log = require 'log'
local metrics = require 'engine.metrics'
local plans = require 'engine.plans'
local store = require 'perigee.store'
local support = require 'lua.engine.support'

support.still()

local CONFIG = 'source: { prometheus: { url: "http://127.0.0.1:9" } }\ndata_dir: data\n'
local A = 'signal "a" { query = "qa", every = "10s", detector = threshold { above = 1 } }\n'
local B = 'signal "b" { query = "qb", every = "10s", detector = threshold { above = 1 } }\n'
local ODD = 'incident "odd" { signals = { "a" }, min_signals = 1, within = "1h" }\n'
local MEND = 'playbook "mend" { when = incident "odd", trust = "auto", plan = {} }\n'

local folder

local function write(name, text)
  local path = folder .. '/' .. name
  assert(file.make_folder(path:match '^(.*)/'))
  assert(file.write(path, text))
  return path
end

--- The generation of a configuration and of rule files by name.
local function build(rules, config, active)
  os.execute(("rm -rf '%s/rules'"):format(folder))
  for name, text in pairs(rules) do write('rules/' .. name, text) end
  return generation.build(write('perigee.yaml', CONFIG .. (config or '')), active)
end

--- What f has logged.
local function logged(f, ...)
  log.capture(true)
  local results = table.pack(pcall(f, ...))
  local lines = log.capture(false)
  log.capture(true)
  assert(results[1], results[2])
  return lines
end

before_each(function()
  folder = support.folder()
  daemon.store, daemon.refusal = assert(store.open ':memory:'), nil
end)
after_each(support.tidy)

describe('generation.build', function()
  it('makes an engine of configuration and rules', function()
    local g = assert(build { ['a.lua'] = A, ['b.lua'] = ODD .. MEND })
    local engine = g.engine
    assert.equal(daemon.store, engine.store)
    assert.equal('process-1', engine.process)
    assert.equal('qa', engine.rules.signals.a.query)
    assert.equal(clock.now(), engine.rules.loaded_at)
    assert.equal('http://127.0.0.1:9', engine.source.url)
    assert.equal('http://127.0.0.1:9747', engine.external_url)
    assert.equal(9747, engine.own_port)
    assert.is_nil(engine.alertmanager)
    assert.matches('^%x+$', g.digest)
    assert.equal(200, g.handle({ method = 'GET', path = '/-/healthy', query = '', body = '',
      peer = '127.0.0.1', headers = { host = '127.0.0.1:9747' } }).status)
  end)

  it('asks the daemon for what the configuration says, and makes the folder for it', function()
    assert(build({}, [[
listen: "[::1]:1234"
alertmanager: { url: "http://am" }
drain: 5s
limits: { max_body: 64Ki, max_connections: 7 }
]]))
    assert.same({ data_dir = folder .. '/data', host = '::1', port = 1234, max_body = 65536,
      max_connections = 7, drain = 5 }, daemon.prepared)
    assert.equal('folder', assert(file.stat(folder .. '/data')).type)
  end)

  it('writes addresses as others can use them', function()
    local engine = build({}, 'listen: "[::1]:1234"\nalertmanager: { url: "http://am" }\n').engine
    assert.equal('http://[::1]:1234', engine.external_url)
    assert.equal('http://am', engine.alertmanager.url)
    engine = build({}, 'external_url: https://perigee.example\n').engine
    assert.equal('https://perigee.example', engine.external_url)
  end)

  it('has a client of a cluster that need not be there, and a new one when its file changes',
    function()
      local function kubeconfig(port)
        write('kube', ([[
current-context: c
contexts: [{name: c, context: {cluster: k, user: u, namespace: shop}}]
clusters: [{name: k, cluster: {server: "https://127.0.0.1:%d"}}]
users: [{name: u, user: {token: a-token}}]
]]):format(port))
      end
      local section = 'kubernetes: { kubeconfig: kube }\n'
      kubeconfig(1)
      local g = assert(build({}, section))
      assert.equal('https://127.0.0.1:1', g.engine.kubernetes.server)
      assert.equal('shop', g.engine.kubernetes.namespace)
      assert.equal('unchanged', select(3, build({}, section, g.digest)))
      kubeconfig(2)
      assert.equal('https://127.0.0.1:2',
        assert(build({}, section, g.digest)).engine.kubernetes.server)
    end)

  it('tells what is wrong with the configuration, or with the rules', function()
    local g, problems, kind = build({ ['a.lua'] = A }, 'lisen: 1\nlifecycle: 1\n')
    assert.is_nil(g)
    assert.equal('config', kind)
    assert.same({ folder .. '/perigee.yaml:3:1: unknown key "lisen"; did you mean "listen"?',
      folder .. '/perigee.yaml:4:1: lifecycle: expected true or false, not 1' }, problems)
    g, problems, kind = build { ['a.lua'] = 'signal "a" {}', ['b.lua'] = ODD }
    assert.is_nil(g)
    assert.equal('rules', kind)
    assert.equal(2, #problems)
    assert.matches('rules/a.lua:1:1: signal "a": ', problems[1], 1, true)
  end)

  it('says why it cannot start', function()
    write('data', '')
    assert.same({ nil, { ('data_dir: cannot make folder %s/data: Not a directory'):format(folder) },
      'start' }, { build {} })
    os.remove(folder .. '/data')
    daemon.store, daemon.refusal = nil, 'the port is taken'
    assert.same({ nil, { 'the port is taken' }, 'start' }, { build {} })
  end)

  it('is unchanged where nothing has changed, and only there', function()
    local rules = { ['a.lua'] = 'local b = require "lib.b"\n' .. A, ['lib/b.lua'] = 'return 1\n' }
    local config = 'auth: { tokens: [ { name: a, role: viewer, token_file: token } ] }\n'
    write('token', 'the-token-of-alice')
    local digest = assert(build(rules, config)).digest
    assert.same({ nil, {}, 'unchanged' }, { build(rules, config, digest) })
    local function changes(f)
      f()
      local g = assert(build(rules, config, digest))
      assert.not_equal(digest, g.digest)
    end
    changes(function() write('token', 'another-token-of-alice') end)
    write('token', 'the-token-of-alice')
    changes(function() rules['lib/b.lua'] = 'return 2\n' end)
    rules['lib/b.lua'] = 'return 1\n'
    changes(function() rules['b.lua'] = B end)
    rules['b.lua'] = nil
    assert.same({ nil, {}, 'unchanged' }, { build(rules, config, digest) })
    changes(function() config = config .. '# a comment\n' end)
  end)

  it('keeps resolved series as long as any incident looks back', function()
    local engine = build({ ['a.lua'] = A .. B .. ODD }).engine
    assert.same({ 3660, 3660 },
      { engine.rules.signals.a.keep_resolved, engine.rules.signals.b.keep_resolved })
    engine = build({ ['a.lua'] = A }).engine
    assert.equal(900, engine.rules.signals.a.keep_resolved)
  end)

  it('logs warnings of rules', function()
    local lines = logged(function()
      assert(build { ['a.lua'] = A:gsub('}%s*$', ', labels = { x = "{{ $value }}" } }') })
    end)
    assert.matches('rule warning', lines)
    assert.matches('a.lua:1:', lines, 1, true)
  end)

  it('has queries for templates', function()
    local engine = build({}).engine
    engine.source = support.source()
    engine.source.answers.x = { { { app = 'shop' }, 5 } }
    assert.same({ { Labels = { app = 'shop' }, Value = 5 } }, engine:template_query('x', 0))
    engine.source.answers.x = { message = 'nobody there' }
    assert.same({ nil, 'nobody there' }, { engine:template_query('x', 0) })
  end)
end)

describe('a generation that becomes active', function()
  local active

  local function activate(g, first)
    if active then active:deactivate() end
    active = g
    g.engine.source = support.source()
    return logged(g.activate, g, first == true)
  end

  after_each(function()
    if active then active:deactivate() end
    active = nil
  end)

  it('tells what has been added, changed and removed', function()
    local lines = activate(build { ['a.lua'] = A, ['b.lua'] = B }, true)
    assert.matches('rules are active" added="signal a, signal b" changed="" removed=""', lines)
    lines = activate(build { ['a.lua'] = A .. '--', ['c.lua'] = ODD })
    assert.matches('added="incident odd" changed="signal a" removed="signal b"', lines)
    lines = activate(build({ ['a.lua'] = A .. '--', ['c.lua'] = ODD }, '# other\n'))
    assert.matches('added="" changed="" removed=""', lines)
    assert.same({ 2, 3 }, { audit.list(daemon.store, 0, 10)[1].changes,
      audit.list(daemon.store, 0, 10)[2].changes })
    assert.equal(2, select(2, audit.head(daemon.store)))
  end)

  it('tells of policies as of any rule, and of ceilings that hold for nothing', function()
    local policy = 'trust.policy(function() return "recommend" end)\n'
    activate(build({ ['a.lua'] = A }), true)
    local lines = activate(build({ ['a.lua'] = A, ['b.lua'] = policy .. ODD .. MEND },
      'guardrails: { trust: { playbooks: { "men*": auto, mned: recommend } } }\n'))
    assert.matches('added="incident odd, playbook mend, policy b.lua:1"', lines, 1, true)
    assert.matches('not declared" nearest=mend playbook=mned', lines, 1, true)
    assert.is_nil(lines:find('playbook=men*', 1, true))
  end)

  it('keeps the state of signals that are there still, and forgets the others', function()
    activate(build { ['a.lua'] = A, ['b.lua'] = B }, true)
    for _, name in ipairs { 'a', 'b' } do
      daemon.store:exec("insert into signals (name, state) values (?, '{\"series\":{}}')", name)
    end
    activate(build { ['a.lua'] = A .. '--' })
    local names = {}
    for i, row in ipairs(daemon.store:rows 'select name from signals') do names[i] = row.name end
    assert.same({ 'a' }, names)
  end)

  it('makes up for a crash when the process starts, and only then', function()
    local rules = { ['a.lua'] = A .. ODD .. MEND }
    local g = build(rules)
    local p = plans.create(g.engine, { playbook = 'mend', target = '', trust = 'auto',
      actions = {}, state = 'approved', expires_at = clock.now() + 900 })
    daemon.store:exec "update plans set state = 'executing', due_at = null"
    assert.is_nil(activate(g):find('recovered', 1, true))
    assert.is_nil(plans.get(daemon.store, p.id).due_at)
    assert.matches('recovered after a restart" continued=1 unknown=0',
      activate(build(rules, '# again\n'), true))
    assert.equal(clock.now(), plans.get(daemon.store, p.id).due_at)
  end)

  it('says when it starts that it only tells of actions', function()
    assert.matches('dry run: actions are only told of', activate(build {}, true))
    assert.equal(1, metrics.dry_run:value())
    assert.is_nil(activate(build({}, 'guardrails: { dry_run: false }\n'), true)
      :find('dry run', 1, true))
    assert.equal(0, metrics.dry_run:value())
  end)

  it('evaluates, until it is one no longer', function()
    local g = build { ['a.lua'] = A }
    activate(g, true)
    local source = g.engine.source
    clock.advance(10)
    support.turns()
    assert.same({ 'qa' }, source.asked)
    g:deactivate()
    active = nil
    clock.advance(60)
    support.turns()
    assert.same({ 'qa' }, source.asked)
  end)

  it('throws the kill switch, and writes down who did', function()
    local g = build {}
    logged(g.kill, g, 'SIGUSR1')
    assert.equal('SIGUSR1\n', file.read(guardrails.kill_file(g.engine.config)))
    assert.is_not_nil(guardrails.killed(g.engine.config))
    local record = audit.list(daemon.store, 0, 10)[1]
    assert.same({ 'kill_switch', true, 'SIGUSR1' }, { record.kind, record.on, record.who })
  end)
end)
