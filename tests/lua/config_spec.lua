local check = require 'check'
local config = require 'config'
local file = require 'perigee.file'
local log = require 'log'

local SOURCE = 'source: { prometheus: { url: "http://127.0.0.1:9090" } }\n'

local folder

--- Writes a file into the spec's own folder and returns its path.
local function write(name, text)
  local path = folder .. '/' .. name
  assert(file.make_folder(path:match '^(.*)/'))
  assert(file.write(path, text))
  return path
end

before_each(function() folder = assert(file.temporary_folder 'perigee-config') end)
after_each(function() os.execute(("rm -rf '%s'"):format(folder)) end)

--- Reads a configuration: a source, and the lines of the test behind it.
local function read(text, without_source)
  local path = write('perigee.yaml', (without_source and '' or SOURCE) .. text)
  return config.read(path)
end

local function good(text)
  local values, problems = read(text)
  assert.same({}, problems)
  return values
end

--- What is wrong, as "line:column: message", without the folder's name.
local function wrong(text, without_source)
  local values, problems = read(text, without_source)
  assert.is_nil(values)
  local out = {}
  for i, p in ipairs(problems) do
    out[i] = config.problem_text(p):gsub(folder:gsub('%p', '%%%0') .. '/', ''):gsub(
      '^perigee.yaml:', '')
  end
  return out
end

--- The value at a path such as "limits.max_body".
local function at(values, path)
  for step in path:gmatch '[^.]+' do values = values[math.tointeger(step) or step] end
  return values
end

describe('config.read', function()
  it('needs nothing but a source', function()
    local values = good ''
    assert.same({ host = '127.0.0.1', port = 9747, is_loopback = true }, values.listen)
    assert.equal(folder .. '/perigee-data', values.data_dir)
    assert.same({ folder .. '/rules/*.lua', folder .. '/rules/*.yaml' }, values.rules)
    assert.same({}, values.files)
    assert.equal(folder .. '/perigee.yaml', values.path)
    assert.same({ url = 'http://127.0.0.1:9090', headers = {}, timeout = 30 },
      values.source.prometheus)
    assert.same({ 30, 30, false }, { values.evaluation_interval, values.drain, values.lifecycle })
    assert.same({ level = 'info', format = 'logfmt' }, values.log)
    assert.same({ tokens = {} }, values.auth)
    assert.same({ dry_run = true, kill_switch = false, namespaces = {}, max_actions_per_hour = 10,
      kinds = { 'Pod', 'ReplicaSet', 'Deployment', 'StatefulSet', 'DaemonSet',
        'HorizontalPodAutoscaler' },
      trust = { max = 'auto', playbooks = {}, namespaces = {} },
      limits = { namespace = { actions = 3, within = 600 } },
      breaker = { failures = 2, within = 3600, cool_off = 3600 },
      storm = { incidents = 10, within = 600 },
      cooldown = 600, blast_radius = 0.2, freeze = {}, calendar = {}, http = {},
      github = {}, kubernetes_patch = {} },
      values.guardrails)
    assert.same({}, values.calendar)
    assert.same({ max_body = 1 << 20, max_connections = 200, max_series = 2000,
      concurrent_queries = 20, rule_cpu = 50 }, values.limits)
    assert.is_nil(values.alertmanager)
    assert.is_nil(values.external_url)
  end)

  it('takes a section without keys for a section that is left out', function()
    assert.same(good '', good 'guardrails:\nlimits: {}\nlog:\nauth: {}\nalertmanager:\n')
  end)

  -- Every key: what it takes and what that becomes, and what it does not take and why.
  local KEYS = {
    { 'listen', '127.0.0.2:0', { host = '127.0.0.2', port = 0, is_loopback = true } },
    { 'listen', '"[::1]:80"', { host = '::1', port = 80, is_loopback = true } },
    { 'listen', 'localhost:65535', { host = 'localhost', port = 65535, is_loopback = true } },
    { 'external_url', 'https://perigee.example/x', 'https://perigee.example/x' },
    { 'allowed_hosts', '[perigee.example]', { 'perigee.example' } },
    { 'data_dir', '/var/lib/perigee', '/var/lib/perigee' },
    { 'evaluation_interval', '1m30s', 90 },
    { 'external_labels', '{ cluster: a, config_file: b }', { cluster = 'a', config_file = 'b' } },
    { 'drain', '0s', 0 },
    { 'lifecycle', 'true', true },
    { 'alertmanager', '{ url: "http://am:9093" }', { url = 'http://am:9093', timeout = 10 } },
    { 'alertmanager.timeout', '{ url: "http://am", timeout: 5s }', 5 },
    { 'alertmanager.tls', '{ url: "http://am", tls: { server_name: a } }', { server_name = 'a' } },
    { 'slack.api_url', '{ bot_token_file: token, channel: C1 }', 'https://slack.com/api' },
    { 'slack.socket_mode', '{ bot_token_file: token, channel: C1, socket_mode: {connections: 2} }',
      { connections = 2 } },
    { 'guardrails.dry_run', '{ dry_run: false }', false },
    { 'guardrails.kill_switch', '{ kill_switch: true }', true },
    { 'guardrails.namespaces', '{ namespaces: [shop] }', { 'shop' } },
    { 'guardrails.namespaces', '{ namespaces: [] }', {} },
    { 'guardrails.namespaces', '{ namespaces: ["team-*"] }', { 'team-*' } },
    { 'guardrails.kinds', '{ kinds: [Deployment, Node] }', { 'Deployment', 'Node' } },
    { 'guardrails.names', '{ names: ["checkout-*", cart] }', { 'checkout-*', 'cart' } },
    { 'guardrails.max_unavailable', '{ max_unavailable: 0 }', 0 },
    { 'guardrails.trust', '{ trust: { max: recommend, playbooks: { a: auto, the_file: auto } } }',
      { max = 'recommend', playbooks = { a = 'auto', the_file = 'auto' }, namespaces = {} } },
    { 'guardrails.trust.namespaces', '{ trust: { namespaces: { pay: manual_only } } }',
      { pay = 'manual_only' } },
    { 'guardrails.limits', '{ limits: { namespace: { actions: 0 }, target: { within: 5m } } }',
      { namespace = { actions = 0, within = 600 }, target = { actions = 6, within = 300 } } },
    { 'guardrails.limits.playbook', '{ limits: { playbook: {} } }',
      { actions = 10, within = 3600 } },
    { 'guardrails.breaker', '{ breaker: { failures: 1, cool_off: 1d } }',
      { failures = 1, within = 3600, cool_off = 86400 } },
    { 'guardrails.storm', '{ storm: { incidents: 3 } }', { incidents = 3, within = 600 } },
    { 'guardrails.calendar', '{ calendar: [changes.yaml] }', { 'changes.yaml' } },
    { 'guardrails.max_actions_per_hour', '{ max_actions_per_hour: 0 }', 0 },
    { 'guardrails.cooldown', '{ cooldown: 1h }', 3600 },
    { 'guardrails.blast_radius', '{ blast_radius: 1 }', 1 },
    { 'guardrails.freeze', '{ freeze: [{ from: 1970-01-01T00:00:10Z, to: 1970-01-02T00:00:00Z }] }',
      { { from = 10, to = 86400, timezone = 'UTC' } } },
    { 'guardrails.freeze', '{ freeze: [{ days: [fri], start: 22:00, end: 06:30 }] }',
      { { days = { 'fri' }, start = 79200, ['end'] = 23400, timezone = 'UTC' } } },
    { 'github', '{ timeout: 5s }', { api_url = 'https://api.github.com', timeout = 5 } },
    { 'guardrails.github', '{ github: [{ repository: acme/shop, workflows: [rollback.yml] }] }',
      { { repository = 'acme/shop', workflows = { 'rollback.yml' } } } },
    { 'guardrails.kubernetes_patch',
      '{ kubernetes_patch: [{ resources: [deployments], paths: [/spec/paused] }] }',
      { { resources = { 'deployments' }, paths = { '/spec/paused' } } } },
    { 'guardrails.http', '{ http: [{ url_prefix: "http://shop/", methods: [POST] }] }',
      { { url_prefix = 'http://shop/', methods = { 'POST' } } } },
    { 'approvals.quorum', '{ quorum: 2 }', 2 },
    { 'approvals.group', '{ group: sre, groups: { sre: [alice, U123] } }', 'sre' },
    { 'approvals.groups', '{ groups: { sre: [alice, U123] } }', { sre = { 'alice', 'U123' } } },
    { 'approvals.remind', '{ quorum: 1 }', 300 },
    { 'approvals.remind', '{ remind: 0s }', 0 },
    { 'log', '{ level: debug, format: json }', { level = 'debug', format = 'json' } },
    { 'log', '{ format: json }', { level = 'info', format = 'json' } },
    { 'limits.max_body', '{ max_body: 64Ki }', 65536 },
    { 'limits.max_connections', '{ max_connections: 10000 }', 10000 },
    { 'limits.max_series', '{ max_series: 1 }', 1 },
    { 'limits.concurrent_queries', '{ concurrent_queries: 1000 }', 1000 },
    { 'limits.rule_cpu', '{ rule_cpu: 1 }', 1 },
  }

  it('takes every key', function()
    write('token', 'xoxb-of-the-bot')
    write('changes.yaml', '- { name: a, from: 1970-01-01T00:00:10Z, to: 1970-01-02T00:00:00Z }')
    for _, case in ipairs(KEYS) do
      local path, text, value = table.unpack(case, 1, 3)
      local values = good(('%s: %s'):format(path:match '^[^.]+', text))
      assert.same(value, at(values, path), path)
    end
  end)

  local WRONG = {
    { 'listen: 9747', 'listen: expected an address and a port such as 127.0.0.1:9747, not 9747' },
    { 'listen: "127.0.0.1:65536"', 'listen: expected an address and a port such as 127.0.0.1:9747, '
      .. 'not "127.0.0.1:65536"' },
    { 'listen: "face:80"', 'listen: expected an address and a port such as 127.0.0.1:9747, '
      .. 'not "face:80"' },
    { 'approvals: { quorum: 0 }',
      'approvals.quorum: expected a whole number of at least 1 and at most 100, not 0' },
    { 'approvals: { group: sre, groups: { srr: [alice] } }',
      'unknown group "sre"; did you mean "srr"?' },
    { 'listen: []', 'listen: expected an address and a port such as 127.0.0.1:9747, not a table' },
    { 'external_url: perigee', 'external_url: expected a URL such as "http://127.0.0.1:9090", '
      .. 'not "perigee"' },
    { 'external_url: "http://a/?b"', 'external_url: expected an address without a query' },
    { 'allowed_hosts: a', 'allowed_hosts: expected a list, not "a"' },
    { 'data_dir: 5', 'data_dir: expected a text, not 5' },
    { 'data_dir: ""', 'data_dir: expected a text that is not empty' },
    { 'rules: rules/*.lua', 'rules: expected a list, not "rules/*.lua"' },
    { 'evaluation_interval: 10ms', 'evaluation_interval: expected at least 1s, not "10ms"' },
    { 'external_labels: [a]', 'external_labels: expected a table of names and values, '
      .. 'not a table' },
    { 'external_labels: { a-b: c }', 'external_labels.a-b: "a-b" is not a valid name here' },
    { 'external_labels: { a: 1 }', 'external_labels.a: expected a text, not 1' },
    { 'lifecycle: "yes"', 'lifecycle: expected true or false, not "yes"' },
    { 'alertmanager: {}', 'alertmanager: option "url" is missing' },
    { 'alertmanager: { url: "http://a", tls: { insecure_skip_verify: 1 } }',
      'alertmanager.tls.insecure_skip_verify: expected true or false, not 1' },
    { 'auth: { tokens: { name: a } }', 'auth.tokens: expected a list, not a table' },
    { 'guardrails: { dry_run: "false" }',
      'guardrails.dry_run: expected true or false, not "false"' },
    { 'guardrails: { namespaces: shop }', 'guardrails.namespaces: expected a list, not "shop"' },
    { 'guardrails: { namespaces: ["*"] }', 'guardrails.namespaces[1]: expected a name, or a '
      .. 'pattern such as "team-*", not "*"' },
    { 'guardrails: { names: ["a/b"] }', 'guardrails.names[1]: expected a name, or a pattern such '
      .. 'as "team-*", not "a/b"' },
    { 'guardrails: { trust: { max: full } }', 'guardrails.trust.max: expected one of auto, '
      .. 'human_approve, recommend, manual_only, not "full"' },
    { 'guardrails: { storm: { incidents: 0 } }',
      'guardrails.storm.incidents: expected a whole number of at least 1, not 0' },
    { 'guardrails: { breaker: { within: 0s } }',
      'guardrails.breaker.within: expected at least 1s, not "0s"' },
    { 'guardrails: { max_actions_per_hour: -1 }',
      'guardrails.max_actions_per_hour: expected a whole number of at least 0, not -1' },
    { 'guardrails: { max_actions_per_hour: .inf }',
      'guardrails.max_actions_per_hour: expected a whole number of at least 0, not inf' },
    { 'guardrails: { blast_radius: 0 }',
      'guardrails.blast_radius: expected a number above 0 and at most 1, not 0' },
    { 'guardrails: { freeze: [{ from: 2026-01-01T00:00:00Z }] }',
      'guardrails.freeze[1]: expected { from, to }, or { days, start, end, timezone }' },
    { 'guardrails: { http: [{ url_prefix: "http://a?b" }] }',
      'guardrails.http[1].url_prefix: expected an address without a query' },
    { 'guardrails: { http: [{ url_prefix: "http://a", methods: [get] }] }',
      'guardrails.http[1].methods[1]: expected one of GET, HEAD, POST, PUT, PATCH, DELETE, not '
      .. '"get"; did you mean "GET"?' },
    { 'guardrails: { kubernetes_patch: [{ resources: [deployment], paths: [/spec] }] }',
      'unknown resource "deployment"; did you mean "deployments"?' },
    { 'guardrails: { kubernetes_patch: [{ resources: [nodes], paths: [spec.taints] }] }',
      'guardrails.kubernetes_patch[1].paths[1]: expected a path such as "/spec/template/spec", not '
      .. '"spec.taints"' },
    { 'log: { level: verbose }', 'log.level: expected one of debug, info, warn, error, '
      .. 'not "verbose"' },
    { 'log: { format: jsno }', 'log.format: expected one of logfmt, json, not "jsno"; did you mean '
      .. '"json"?' },
    { 'limits: { max_body: 1MB }',
      'limits.max_body: expected a size such as 65536, "64Ki" or "1M", not "1MB"' },
    { 'limits: { max_connections: 1.5 }', 'limits.max_connections: expected a whole number of at '
      .. 'least 1 and at most 10000, not 1.5' },
    { 'limits: { max_series: 0 }', 'limits.max_series: expected a whole number of at least 1, '
      .. 'not 0' },
    { 'limits: { concurrent_queries: 1001 }', 'limits.concurrent_queries: expected a whole number '
      .. 'of at least 1 and at most 1000, not 1001' },
    { 'limits: { rule_cpu: 0.5 }',
      'limits.rule_cpu: expected a whole number of at least 1 and at most '
      .. '1000, not 0.5' },
  }

  it('refuses what is no value of a key, where it is', function()
    for _, case in ipairs(WRONG) do
      local words = wrong(case[1])
      assert.equal(1, #words, case[1])
      assert.equal(case[2], words[1]:match '^2:%d+: (.*)$', case[1])
    end
    local first = wrong 'drain: soon'
    assert.matches('^2:1: drain: .*"soon"', first[1])
  end)

  it('has a case here for every key there is', function()
    local tried = { source = true, rules = true, auth = true, kubernetes = true } -- with specs
    -- of their own, below
    for _, case in ipairs(KEYS) do tried[case[1]:match '^[^.]+'] = true end
    assert.same(check.names(config.SPEC), check.names(tried))
    for _, case in ipairs(KEYS) do tried[case[1]] = true end
    for _, section in ipairs { 'guardrails', 'limits' } do
      for _, key in ipairs(check.names(good('')[section])) do
        assert.is_true(tried[section .. '.' .. key], key)
      end
    end
  end)

  it('reads the change calendar with it, whose every mistake has its place', function()
    write('freezes.yaml', [[
- { name: "Black Friday", from: 2026-11-27T00:00:00Z, to: 2026-11-28T00:00:00Z }
- name: the weekly release
  days: [tue]
  start: "14:00"
  end: "16:00"
  timezone: Europe/Berlin
  namespaces: [shop]
]])
    write('empty.yaml', '# nothing is planned\n')
    local values, _, text = read 'guardrails: { calendar: [freezes.yaml, empty.yaml] }'
    assert.same({ 'Black Friday', 'the weekly release' },
      { values.calendar[1].name, values.calendar[2].name })
    assert.same({ 'shop' }, values.calendar[2].namespaces)
    assert.truthy(text:find('Black Friday', 1, true)) -- when it changes, so does the digest
    write('wrong.yaml', '- { name: a, from: soon, to: 2026-11-28T00:00:00Z }\n'
      .. '- { start: "14:00" }')
    write('nameless.yaml', '\n- { start: "14:00", end: "15:00" }')
    write('broken.yaml', '- {')
    write('text.yaml', 'no windows')
    local words = wrong('guardrails:\n  calendar: [wrong.yaml, nameless.yaml, broken.yaml, '
      .. 'text.yaml, none.yaml]')
    for i, line in ipairs(words) do words[i] = line:match '^3:%d+: guardrails.calendar(.*)$' end
    assert.equal(6, #words)
    table.sort(words)
    assert.equal('[1]: wrong.yaml:1:14: [1].from: expected a time with its zone, such as '
      .. '"2026-12-24T18:00:00Z" or "…+01:00", not "soon"', words[1])
    assert.matches('[1]: wrong.yaml:2:3: [2]: expected { from, to }', words[2], 1, true)
    assert.equal('[2]: nameless.yaml:2:3: [1]: option "name" is missing', words[3])
    assert.matches('[3]: broken.yaml:', words[4], 1, true)
    assert.equal('[4]: text.yaml:1:1: expected a list of windows', words[5])
    assert.matches('none.yaml: No such file', words[6], 1, true)
  end)

  it('names the nearest key for one it does not know', function()
    assert.same({ '2:1: unknown key "lisen"; did you mean "listen"?' }, wrong 'lisen: 127.0.0.1:1')
    assert.same({ '2:15: unknown key "dryrun"; did you mean "dry_run"?' },
      wrong 'guardrails: { dryrun: false }')
    assert.same({ '2:10: unknown key "max_bodies"; did you mean "max_body"?' },
      wrong 'limits: {max_bodies: 1}')
    assert.same({ '1:1: source: option "prometheus" is missing',
      '1:11: unknown key "promtheus"; did you mean "prometheus"?' },
      wrong('source: { promtheus: { url: "http://a" } }', true))
  end)

  it('finds the cluster by kubeconfig files beside it, and tells their mistakes by their lines',
    function()
      write('kube/config', table.concat({ 'current-context: a',
        'contexts: [{name: a, context: {cluster: c, user: u, namespace: shop}}]',
        'clusters: [{name: c, cluster: {server: "https://10.0.0.1:6443"}}]',
        'users: [{name: u, user: {tokenFile: ../kube-token}}]' }, '\n'))
      assert.same({ 'kube/config:4:26: tokenFile: cannot read kube/../kube-token: No such file '
        .. 'or directory' }, wrong 'kubernetes: { kubeconfig: kube/config }')
      write('kube-token', 'test-token')
      local o = good('kubernetes: { kubeconfig: kube/config, timeout: 5s }').kubernetes
      assert.same({ server = 'https://10.0.0.1:6443', context = 'a', namespace = 'shop',
        timeout = 5, user = { token_file = folder .. '/kube/../kube-token' } }, o.cluster)
      assert.matches('2:15: kubernetes.in_cluster: the environment has no KUBERNETES_SERVICE_HOST',
        wrong('kubernetes: { in_cluster: true }')[1])
      assert.matches('2:15: kubernetes.kubeconfig: cannot read none: No such file',
        wrong('kubernetes: { kubeconfig: none }')[1])
    end)

  it('needs a source that can be asked', function()
    assert.same({ '1:1: option "source" is missing' }, wrong('', true))
    assert.same({ '1:1: source: expected a table, not "prometheus"' },
      wrong('source: prometheus', true))
    assert.same({ '1:11: source.prometheus: option "url" is missing' },
      wrong('source: { prometheus: {} }', true))
    assert.same({ '2:3: source.prometheus.url: a password does not belong into a URL; use a file' },
      wrong('source: { prometheus: {\n  url: "http://a:b@c" } }', true))
  end)

  it('tells everything that is wrong in one run, in the order of the file', function()
    local words = wrong [[
listen: 0.0.0.0
lifecycle: 1
alertmanager: { url: am, bearer_token_file: none }
auth:
  tokens:
    - { name: a, role: root, token_env: PERIGEE_NO_SUCH }
guardrails:
  cooldown: soon
  http:
    - { url_prefix: "http://shop", bearer_token_file: none }
rules: [ none.lua ]
]]
    local keys = {}
    for i, line in ipairs(words) do keys[i] = line:match '^(%d+:%d+: [^:]+): ' end
    assert.same({ '2:1: listen', '3:1: lifecycle', '4:26: alertmanager.bearer_token_file',
      '4:17: alertmanager.url', '7:18: auth.tokens[1].role', '9:3: guardrails.cooldown',
      '11:36: guardrails.http[1].bearer_token_file', '12:10: rules[1]' }, keys)
  end)

  it('knows a file that is no configuration at all', function()
    assert.same({ '1:1: expected keys and values, not "text"' }, wrong('text', true))
    assert.same({ '1:1: option "source" is missing' }, wrong('# nothing yet\n', true))
    assert.matches('^2:%d+: ', wrong('a: [1\nb: 2', true)[1])
    local values, problems = config.read(folder .. '/none.yaml')
    assert.is_nil(values)
    assert.matches('^cannot read .*/none.yaml: No such file', problems[1].message)
    assert.equal(folder .. '/none.yaml: ' .. problems[1].message,
      config.problem_text(problems[1]))
  end)

  it('returns the text, of which the digest is made', function()
    local _, _, text = read 'drain: 1s\n'
    assert.equal(SOURCE .. 'drain: 1s\n', text)
  end)

  it('reads the defaults anew for each file', function()
    local one = config.parse('one/perigee.yaml', SOURCE)
    local other = config.parse('other/perigee.yaml', SOURCE)
    assert.same({ 'one/rules/*.lua', 'one/rules/*.yaml' }, one.rules)
    assert.same({ 'other/rules/*.lua', 'other/rules/*.yaml' }, other.rules)
  end)
end)

describe('paths in the configuration', function()
  it('count from the folder of the file', function()
    write('etc/token', 'a-token-of-enough-characters')
    local path = write('etc/perigee.yaml', [[
data_dir: ./data
rules: [ "./*.lua", "sub/*.lua", /nowhere/*.lua ]
source: { prometheus: { url: "http://a", bearer_token_file: token, tls: { ca_file: ./ca } } }
alertmanager: { url: "http://a", bearer_token_file: ../etc/token, tls: { cert_file: ca,
  key_file: ca } }
auth: { tokens: [ { name: a, role: viewer, token_file: token } ] }
guardrails: { http: [ { url_prefix: "http://a", bearer_token_file: token } ] }
]])
    write('etc/ca', '-----BEGIN CERTIFICATE-----')
    local values, problems = config.read(path)
    assert.same({}, problems)
    local here = folder .. '/etc/'
    assert.equal(here .. 'data', values.data_dir)
    assert.same({ here .. '*.lua', here .. 'sub/*.lua', '/nowhere/*.lua' }, values.rules)
    assert.equal(here .. 'token', values.source.prometheus.bearer_token_file)
    assert.equal(here .. 'ca', values.source.prometheus.tls.ca_file)
    assert.equal(here .. '../etc/token', values.alertmanager.bearer_token_file)
    assert.same({ cert_file = here .. 'ca', key_file = here .. 'ca' }, values.alertmanager.tls)
    assert.equal(here .. 'token', values.auth.tokens[1].token_file)
    assert.equal(here .. 'token', values.guardrails.http[1].bearer_token_file)
  end)

  it('of a file without a folder count from where the program is', function()
    local values = config.parse('perigee.yaml', SOURCE .. 'data_dir: ./data')
    assert.equal('data', values.data_dir)
    assert.same({ 'rules/*.lua', 'rules/*.yaml' }, values.rules)
  end)

  it('are refused where a file that is named cannot be read', function()
    for _, text in ipairs { 'alertmanager: { url: "http://a", bearer_token_file: none }',
      'alertmanager: { url: "http://a", tls: { ca_file: none } }',
      'auth: { tokens: [{ name: a, role: viewer, token_file: none }] }',
      'guardrails: { http: [{ url_prefix: "http://a", bearer_token_file: none }] }' } do
      assert.same({ 'cannot read none: No such file or directory' },
        { wrong(text)[1]:match '^2:%d+: [%w_.%[%]]+_file: (.*)$' })
      assert.equal(1, #wrong(text))
    end
  end)

  it('of secrets hold one line, and something on it', function()
    local function words(text)
      write('token', text)
      return wrong('alertmanager: { url: "http://a", bearer_token_file: token }')[1]
        :match '^2:34: alertmanager.bearer_token_file: (.*)$'
    end
    assert.equal('token is empty', words ' \n')
    assert.equal('token holds more than one line', words 'a\nb\n')
  end)

  it('of certificates are as long as bundles are', function()
    write('ca', ('x'):rep(300000))
    good 'alertmanager: { url: "http://a", tls: { ca_file: ca } }'
  end)

  it('are no paths where the names are the user\'s', function()
    assert.same({ config_file = 'none' },
      good('external_labels: { config_file: none }').external_labels)
    local values = read('source: { prometheus: { url: "http://a", headers: { a_file: none } } }',
      true)
    assert.same({ a_file = 'none' }, values.source.prometheus.headers)
  end)
end)

describe('rule files', function()
  it('are what the patterns find, each once, in their order', function()
    for _, name in ipairs { 'rules/b.lua', 'rules/a.lua', 'more/c.lua', 'more/d.txt' } do
      write(name, '')
    end
    local values = good 'rules: [ more/*.lua, "rules/*.lua", "rules/?.lua", rules/a.lua ]'
    assert.same({ folder .. '/more/c.lua', folder .. '/rules/a.lua', folder .. '/rules/b.lua' },
      values.files)
  end)

  it('may be none yet, where a pattern asks for them', function()
    assert.same({}, good('rules: [ "rules/*.lua", "rules/[ab].lua", "rules/a?.lua" ]').files)
    assert.same({}, good('rules: []').files)
  end)

  it('are there where they are named', function()
    assert.same({ '2:21: rules[2]: there is no file rules/a.lua' },
      wrong 'rules: [ "rules/*", rules/a.lua ]')
  end)

  it('have one name each', function()
    for _, name in ipairs { 'a/x.lua', 'b/x.lua', 'c/x.lua' } do write(name, '') end
    assert.same({ '2:19: rules[2]: two rule files are called "x.lua": a/x.lua and b/x.lua',
      '2:28: rules[3]: two rule files are called "x.lua": a/x.lua and c/x.lua' },
      wrong 'rules: [ a/*.lua, b/*.lua, c/*.lua ]')
  end)

  it('are told of also where something else is wrong', function()
    write('rules/a.lua', '')
    local values, problems, _, files = read 'lifecycle: 1'
    assert.is_nil(values)
    assert.equal(1, #problems)
    assert.same({ folder .. '/rules/a.lua' }, files)
  end)
end)

describe('auth.tokens', function()
  local function tokens(text) return 'auth:\n  tokens:\n' .. text end

  it('are read from files, or from the environment', function()
    write('token', '  the-token-of-alice\n')
    local home = os.getenv 'PATH'
    local values = good(tokens [[
    - { name: alice, role: approver, token_file: token, slack_user: U123 }
    - { name: ci, role: admin, token_env: PATH }
]])
    assert.same({ name = 'alice', role = 'approver', token = 'the-token-of-alice',
      token_file = folder .. '/token', slack_user = 'U123' }, values.auth.tokens[1])
    assert.equal(home, values.auth.tokens[2].token)
  end)

  it('are kept out of the log', function()
    write('token', 'the-token-of-alice')
    good(tokens '    - { name: alice, role: approver, token_file: token }\n')
    log.capture(true)
    log.info 'somebody says the-token-of-alice'
    assert.is_nil(log.capture(false):find('the-token-of-alice', 1, true))
  end)

  it('know four roles', function()
    write('token', 'the-token-of-alice')
    for _, role in ipairs { 'viewer', 'approver', 'admin', 'alert_sender' } do
      good(tokens(('    - { name: a, role: %s, token_file: token }\n'):format(role)))
    end
    assert.same({ '4:18: auth.tokens[1].role: expected one of viewer, approver, admin, '
      .. 'alert_sender, not "approvers"; did you mean "approver"?' },
      wrong(tokens '    - { name: a, role: approvers, token_file: token }\n'))
  end)

  it('come from one place each', function()
    write('token', 'the-token-of-alice')
    local words = '4:7: auth.tokens[1]: exactly one of token_file and token_env is needed'
    assert.same({ words }, wrong(tokens '    - { name: a, role: viewer }\n'))
    assert.same({ words },
      wrong(tokens '    - { name: a, role: viewer, token_file: token, token_env: PATH }\n'))
  end)

  it('are there, long enough, and in one piece', function()
    assert.same({ '4:7: auth.tokens[1]: the environment has no PERIGEE_NO_SUCH' },
      wrong(tokens '    - { name: a, role: viewer, token_env: PERIGEE_NO_SUCH }\n'))
    for text, words in pairs { ['fifteen-letters'] = 'a token has at least 16 characters',
      ['two words of enough letters'] = 'a token has no blanks' } do
      write('token', text)
      assert.same({ '4:7: auth.tokens[1]: ' .. words },
        wrong(tokens '    - { name: a, role: viewer, token_file: token }\n'))
    end
    write('token', '')
    assert.same({ '4:32: auth.tokens[1].token_file: token is empty' },
      wrong(tokens '    - { name: a, role: viewer, token_file: token }\n'))
  end)

  it('tell people apart', function()
    write('token', 'the-token-of-alice')
    write('other', 'the-token-of-bob-and-carol')
    assert.same({ '5:7: auth.tokens[2]: the name "alice" is there twice' }, wrong(tokens [[
    - { name: alice, role: viewer, token_file: token }
    - { name: alice, role: approver, token_file: other }
]]))
    assert.same({ '5:7: auth.tokens[2]: "bob" has the same token as "alice"' }, wrong(tokens [[
    - { name: alice, role: viewer, token_file: token }
    - { name: bob, role: approver, token_file: token }
]]))
  end)

  it('are needed where others can reach the service', function()
    write('token', 'the-token-of-alice')
    for address, host in pairs { ['0.0.0.0:9747'] = '0.0.0.0', ['"[::]:9747"'] = '::',
      ['192.0.2.1:80'] = '192.0.2.1' } do
      assert.same({ ('2:1: listen: listening on %s, which others can reach, needs auth.tokens')
        :format(host) }, wrong('listen: ' .. address))
      local values = good('listen: ' .. address .. '\n'
        .. tokens '    - { name: alice, role: viewer, token_file: token }\n')
      assert.is_false(values.listen.is_loopback)
    end
  end)

  it('that are wrong are not also told to be missing', function()
    assert.equal(1, #wrong('listen: 0.0.0.0:9747\n'
      .. tokens '    - { name: alice, role: nobody, token_env: PATH }\n'))
  end)
end)

describe('the limit of one namespace', function()
  it('gives way to a number for the hour that the operator has said, and to its own', function()
    local function limit(text) return good('guardrails: ' .. text).guardrails.limits.namespace end
    assert.same({ actions = 3, within = 600 }, limit '{}')
    assert.same({ actions = 3, within = 600 }, limit '{ cooldown: 0s }')
    assert.is_nil(limit '{ max_actions_per_hour: 100 }')
    assert.same({ actions = 5, within = 600 },
      limit '{ max_actions_per_hour: 100, limits: { namespace: { actions: 5 } } }')
    assert.same({ actions = 3, within = 600 }, limit '{}') -- the defaults are as they were
  end)
end)

describe('config.problem_text', function()
  it('says as much of the place as there is', function()
    assert.equal('a.lua:1:2: x', config.problem_text { file = 'a.lua', line = 1, column = 2,
      message = 'x' })
    assert.equal('a.lua:1: x', config.problem_text { file = 'a.lua', line = 1, message = 'x' })
    assert.equal('a.lua: x', config.problem_text { file = 'a.lua', line = 0, message = 'x' })
    assert.equal('x', config.problem_text { message = 'x' })
  end)
end)
