local clock = require 'perigee.clock'
local file = require 'perigee.file'
local json = require 'json'
local log = require 'log'
local series_file = require 'perigee.series_file'
local kubernetes = require 'kubernetes'
local support = require 'lua.kubernetes.support'

local answer, status, with = support.answer, support.status, support.with
local OK = answer { kind = 'Pod', metadata = { name = 'a' } }
local UNAUTHORIZED = status(401, 'Unauthorized', 'Unauthorized')

local monotonic, now_of = clock.monotonic, clock.now
local now
before_each(function()
  now = 1000
  clock.monotonic = function() return now end
end)
after_each(function()
  clock.monotonic, clock.now = monotonic, now_of
  log.capture(false)
end)
teardown(support.tidy)

local function get(k) return k:get('pods', 'shop', 'a') end

local function sent(asked) return asked[#asked].headers.authorization end

describe('a token in a file', function()
  it('is read anew each minute, and at once after a 401', function()
    local path = support.folder() .. '/token'
    assert(file.write(path, ' first-token\n'))
    with(function(_, n) return n == 4 and UNAUTHORIZED or OK end, function(k, asked)
      assert(get(k))
      assert(file.write(path, 'second-token'))
      now = now + 59
      assert(get(k))
      assert.equal('Bearer first-token', sent(asked))
      now = now + 1
      assert(get(k))
      assert.equal('Bearer second-token', sent(asked))
      assert(file.write(path, 'third-token'))
      assert(get(k)) -- the 4th request, which is refused, and a 5th
      assert.equal(5, #asked)
      assert.equal('Bearer third-token', sent(asked))
    end, 'tokenFile: ' .. path)
  end)

  it('stays what it was where the file is gone, empty or no token', function()
    local path = support.folder() .. '/token'
    assert(file.write(path, 'first-token'))
    log.capture(true)
    with(OK, function(k, asked)
      assert(get(k))
      for _, text in ipairs { '', ' \n', 'two\nlines', false } do
        if text then assert(file.write(path, text)) else os.remove(path) end
        now = now + 60
        assert(get(k))
        assert.equal('Bearer first-token', sent(asked))
      end
    end, 'tokenFile: ' .. path)
    local logged = log.capture(false)
    assert.matches('cannot be read anew', logged)
    assert.is_nil(logged:find('first-token', 1, true))
  end)

  it('is asked for once more after a 401, not for ever', function()
    with(UNAUTHORIZED, function(k, asked)
      assert.equal(401, select(2, get(k)).status)
      assert.equal(2, #asked)
      assert.equal(401, select(2, k:create('pods', 'shop', {})).status)
      assert.equal(4, #asked)
    end)
  end)
end)

it('a name and a password are sent as such', function()
  with(OK, function(k, asked)
    assert(get(k))
    assert.equal('Basic bWU6c2VjcmV0LXdvcmQ=', sent(asked))
  end, 'username: me, password: secret-word')
end)

describe('a program that tells credentials', function()
  local folder
  before_each(function() folder = support.folder() end)

  --- Runs f with a client whose program is this shell script.
  local function with_program(answers, script, f, env)
    local path = folder .. '/get-token'
    assert(file.write(path, '#!/bin/sh\n' .. script))
    os.execute('chmod +x ' .. path)
    with(answers, function(k, asked)
      local client = assert(kubernetes.client { exec = true, kubeconfig = support.kubeconfig(
        k.server, ('exec: {apiVersion: client.authentication.k8s.io/v1, command: "%s", '
          .. 'args: ["%s"], provideClusterInfo: true, env: [%s]}'):format(path, folder,
          env or '')) })
      f(client, asked)
    end)
  end

  local function credential(more)
    return json.encode { apiVersion = 'client.authentication.k8s.io/v1', kind = 'ExecCredential',
      status = more }
  end

  --- A script that counts its runs, and tells a token by the count.
  local COUNTING = [[
echo run >>"$1/runs"
printf '%s' "$KUBERNETES_EXEC_INFO" >"$1/info"
n=$(wc -l <"$1/runs")
echo "{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":"
echo "{\"token\":\"told-token-$n$WORD\",\"expirationTimestamp\":\"2030-01-01T00:00:00Z\"}}"
]]

  it('is run once, and again when what it told expires or is refused', function()
    local expiry = series_file.time '2030-01-01T00:00:00Z'
    local wall = expiry - 3600
    clock.now = function() return wall end
    with_program(function(_, n) return n == 4 and UNAUTHORIZED or OK end, COUNTING,
      function(k, asked)
        assert(get(k))
        assert(get(k))
        assert.equal('Bearer told-token-1-of-env', sent(asked))
        wall = expiry - 9
        assert(get(k))
        assert.equal('Bearer told-token-2-of-env', sent(asked))
        wall = expiry - 3600
        assert(get(k))
        assert.equal('Bearer told-token-3-of-env', sent(asked))
        local told = json.decode(assert(file.read(folder .. '/info')))
        assert.same({ 'ExecCredential', false, k.server },
          { told.kind, told.spec.interactive, told.spec.cluster.server })
      end, '{name: WORD, value: -of-env}')
  end)

  it('is told of in words where it does not tell any, and nothing is sent', function()
    for script, words in pairs {
      ['echo hello'] = 'it wrote no ExecCredential',
      ["echo '" .. credential {} .. "'"] = 'it tells no token, no certificate',
      ["echo '" .. credential { clientKeyData = 'k' } .. "'"] =
        'a certificate and its key belong together',
      ["echo '" .. credential { token = 't', expirationTimestamp = 'soon' } .. "'"] =
        'its expirationTimestamp is no time',
      ['echo no such user >&2; exit 3'] = 'ended with status 3: no such user ',
      ['head -c 2000000 /dev/zero'] = 'it writes too much',
    } do
      with_program(OK, script, function(k, asked)
        local failure = select(2, get(k))
        assert.same({ 'credentials', true, 0 }, { failure.kind, failure.unsent, #asked })
        assert.truthy(failure.message:find(words, 1, true), failure.message)
      end)
    end
  end)
end)
