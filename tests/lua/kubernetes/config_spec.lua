local config = require 'kubernetes.config'
local file = require 'perigee.file'
local kubernetes = require 'kubernetes'
local support = require 'lua.kubernetes.support'

teardown(support.tidy)

local folder, env
local getenv = os.getenv
before_each(function()
  folder, env = support.folder(), {}
  rawset(os, 'getenv', function(name) return env[name] end)
end)
after_each(function() rawset(os, 'getenv', getenv) end)

local function write(name, ...)
  local path = folder .. '/' .. name
  assert(file.make_folder(path:match '^(.*)/'))
  assert(file.write(path, table.concat({ ... }, '\n')))
  return path
end

local function load(options)
  options.exec = options.exec or false
  options.timeout = 10
  return config.load(options)
end

--- What is wrong with a kubeconfig of these lines, without the folder.
local function wrong(...)
  local cluster, problems = load { kubeconfig = write('config', ...) }
  assert.is_nil(cluster)
  local out = {}
  for i, p in ipairs(problems) do
    out[i] = config.words(p):gsub(folder:gsub('%p', '%%%0') .. '/', '')
  end
  return out
end

local CONTEXT = 'contexts: [{name: c, context: {cluster: k, user: u}}]\ncurrent-context: c'
local CLUSTER = 'clusters: [{name: k, cluster: {server: "https://10.0.0.1:6443/"}}]'
local USER = 'users: [{name: u, user: {}}]'
local PEM = '-----BEGIN CERTIFICATE-----\nYQ==\n-----END CERTIFICATE-----\n'

describe('a kubeconfig', function()
  it('is merged with others: what is said first counts', function()
    local a = write('a', 'contexts: [{name: mine, context: {cluster: k, user: u, namespace: a}}]',
      'users: [{name: u, user: {token: first-token}}]', 'apiVersion: v1', 'unknown: 1')
    local b = write('b', 'contexts: [{name: mine, context: {cluster: no, user: no}},',
      '  {name: other, context: {cluster: k, user: v}}]', 'current-context: mine', CLUSTER,
      'users: [{name: u, user: {token: second-token}}, {name: v, user: {username: me,',
      '  password: secret-word}}]')
    assert.same({ server = 'https://10.0.0.1:6443', context = 'mine', namespace = 'a',
      timeout = 10, user = { token = 'first-token' } }, load { kubeconfig = a .. ':' .. b })
    local other = load { kubeconfig = a .. ':' .. b, context = 'other', namespace = 'shop' }
    assert.same({ 'shop', 'me', 'secret-word' },
      { other.namespace, other.user.username, other.user.password })
    env.KUBECONFIG = a .. ':' .. folder .. '/none:' .. b
    assert.equal('mine', load({}).context)
    env.KUBECONFIG, env.HOME = '', folder
    write('.kube/config', CONTEXT, CLUSTER, USER)
    assert.equal('c', load({}).context)
  end)

  it('has certificates within it, or files beside it', function()
    write('pki/ca', PEM)
    local made = load { kubeconfig = write('config', CONTEXT, 'clusters: [{name: k, cluster: {',
      '  server: "https://[::1]:6443/prefix", certificate-authority: pki/ca,',
      '  tls-server-name: k8s, insecure-skip-tls-verify: false, proxy-url: "socks5://p:1"}}]',
      'users: [{name: u, user: {client-certificate-data: "LS0tLS1CRUdJTi0=", client-key: pki/ca}}]')
    }
    assert.same({ server = 'https://[::1]:6443/prefix', ca_file = folder .. '/pki/ca',
      server_name = 'k8s', insecure_skip_verify = false, proxy = 'socks5://p:1', context = 'c',
      timeout = 10, user = { cert_data = '-----BEGIN-', key_file = folder .. '/pki/ca' } }, made)
  end)

  it('need not say who we are', function()
    for _, context in ipairs { '{cluster: k}', '{cluster: k, user: ""}' } do
      local contexts = ('contexts: [{name: c, context: %s}]'):format(context)
      local made = load { kubeconfig = write('config', contexts, 'current-context: c', CLUSTER,
        'users: []') }
      assert.same({ server = 'https://10.0.0.1:6443', context = 'c', timeout = 10, user = {} },
        made)
    end
  end)

  it('is told of by line and column where it is wrong', function()
    assert.same({ 'config:1:1: expected a kubeconfig, not "hello"' }, wrong 'hello')
    assert.matches('^config:2:%d+: ', wrong('a: [')[1])
    assert.same({ 'config:1:1: there is no current-context, and no context is named' },
      wrong(CLUSTER))
    assert.same({ 'there is no current-context, and no context is named' }, wrong '')
    assert.matches('^the kubeconfig is empty', select(2, load { context = 'c',
      kubeconfig = write('config', '') })[1].message)
    assert.same({ 'config:2:1: unknown context "d"; did you mean "c"?' },
      wrong('contexts: [{name: c, context: {cluster: k, user: u}}]', 'current-context: d'))
    assert.same({ 'config:1:32: unknown cluster "k"' },
      { wrong(CONTEXT, USER)[1]:match '^[^;]+' })
    assert.same({ 'config:2:1: users: expected a list' },
      wrong('current-context: c', 'users: {a: 1}'))
    assert.same({ 'config:1:12: clusters[1]: expected keys and values, not 5',
      'config:2:1: contexts: expected keys and values, not "x"' },
      wrong('clusters: [5]', 'contexts: x'))
    for text, words in pairs {
      ['{}'] = '"server" is missing',
      ['{server: 5}'] = 'server: expected a text, not 5',
      ['{server: "ftp://a"}'] = 'server: expected a URL such as "https://10.0.0.1:6443", not '
        .. '"ftp://a"',
      ['{server: "https://me:secret@a"}'] = 'server: a password does not belong into a URL',
      ['{server: "https://a", certificate-authority: none}'] =
        'certificate-authority: cannot read none: No such file or directory',
      ['{server: "https://a", certificate-authority-data: "?"}'] =
        'certificate-authority-data: this is no base64',
      ['{server: "https://a", certificate-authority-data: "YQ=="}'] =
        'certificate-authority-data: this is no PEM',
      ['{server: "https://a", insecure-skip-tls-verify: "yes"}'] =
        'insecure-skip-tls-verify: expected true or false, not "yes"',
    } do
      local found = wrong(CONTEXT, 'clusters: [{name: k, cluster: ' .. text .. '}]', USER)
      assert.equal(1, #found)
      assert.equal(words, found[1]:match '^config:%d+:%d+: (.*)$', text)
    end
    for text, words in pairs {
      ['{token: "two words"}'] = 'token: a token is a text without blanks',
      ['{tokenFile: none}'] = 'tokenFile: cannot read none: No such file or directory',
      ['{as: admin}'] = 'as: impersonation is not supported',
      ['{auth-provider: {name: gcp}}'] =
        'auth-provider: auth-provider has been taken out of Kubernetes; use exec',
      ['{client-key-data: "LS0tLS1CRUdJTi0="}'] =
        'client-certificate and client-key belong together',
      ['{exec: {command: a}}'] = 'this user\'s credentials are told by a program (exec), which is '
        .. 'run only where kubernetes.exec is true',
    } do
      local found = wrong(CONTEXT, CLUSTER, 'users: [{name: u, user: ' .. text .. '}]')
      assert.equal(1, #found)
      assert.equal(words, found[1]:match '^config:4:%d+: (.*)$', text)
    end
  end)

  it('has a program run only where that is allowed, and then one that makes sense', function()
    local function exec(text)
      local cluster, problems = load { exec = true, kubeconfig = write('config', CONTEXT, CLUSTER,
        'users: [{name: u, user: {exec: ' .. text .. '}}]') }
      return cluster and cluster.user.exec or problems[1].message
    end
    local v1 = 'apiVersion: client.authentication.k8s.io/v1'
    assert.same({ api_version = 'client.authentication.k8s.io/v1', provide_cluster = true,
      command = folder .. '/bin/get-token', args = { '--for', '5' }, env = { A = 'b' } },
      exec('{' .. v1 .. ', command: bin/get-token, args: [--for, 5], env: [{name: A, value: b}], '
        .. 'provideClusterInfo: true, interactiveMode: IfAvailable}'))
    assert.equal('get-token', exec('{' .. v1 .. ', command: get-token}').command)
    assert.matches('exec.apiVersion', exec '{command: a}')
    assert.matches('exec.command is missing', exec('{' .. v1 .. '}'))
    assert.matches('nobody to ask', exec('{' .. v1 .. ', command: a, interactiveMode: Always}'))
    assert.matches('exec.env%[1%]', exec('{' .. v1 .. ', command: a, env: [{name: "A=b"}]}'))
    assert.matches('exec.args%[1%]', exec('{' .. v1 .. ', command: a, args: [{}]}'))
  end)

  it('must be there where it is named, and where nothing else is', function()
    local _, problems = load { kubeconfig = folder .. '/none' }
    assert.matches('^cannot read .*/none: No such file', problems[1].message)
    _, problems = load {}
    assert.matches('^neither in_cluster nor kubeconfig is set', problems[1].message)
    local client, message = kubernetes.client { kubeconfig = write('config', 'hello') }
    assert.is_nil(client)
    assert.matches('/config:1:1: expected a kubeconfig, not "hello"$', message)
    assert.has_error(function() kubernetes.client { kubeconfg = 'a' } end)
  end)
end)

describe('in a cluster', function()
  local account = config.SERVICE_ACCOUNT
  before_each(function()
    config.SERVICE_ACCOUNT = folder
    env.KUBERNETES_SERVICE_HOST, env.KUBERNETES_SERVICE_PORT = 'fd00::1', '443'
    write('token', 'a-token\n')
    write('ca.crt', PEM)
    write('namespace', 'shop\n')
  end)
  after_each(function() config.SERVICE_ACCOUNT = account end)

  it('is the pod\'s own account, without a proxy', function()
    assert.same({ server = 'https://[fd00::1]:443', proxy = '', ca_file = folder .. '/ca.crt',
      namespace = 'shop', timeout = 10, user = { token_file = folder .. '/token' } },
      load { in_cluster = true })
    assert.equal('other', load({ in_cluster = true, namespace = 'other' }).namespace)
  end)

  it('says what is missing', function()
    os.remove(folder .. '/token')
    local _, problems = load { in_cluster = true }
    assert.matches('cannot read .*/token', problems[1].message)
    env.KUBERNETES_SERVICE_PORT = nil
    _, problems = load { in_cluster = true }
    assert.matches('the environment has no KUBERNETES_SERVICE_HOST', problems[1].message)
    _, problems = load { in_cluster = true, context = 'a' }
    assert.equal('either in_cluster, or kubeconfig and context', problems[1].message)
  end)
end)
