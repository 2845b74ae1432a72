local async = require 'async'
local file = require 'perigee.file'
local node = require 'fakes.node'
local raw = require 'fakes.raw'
local tls = require 'fakes.tls'
local websocket = require 'websocket'

--- The server of tests/node/websocket_server.js; it says back what it is told.
local function serve(...)
  local folder = assert(file.temporary_folder 'perigee-websocket')
  local child = node.start { 'websocket_server.js', output = folder .. '/out', ... }
  local port = raw.wait_for(folder .. '/out', '^(%d+)\n')
  return { port = port, close = function() raw.finish(child, folder) end }
end

local server, url
setup(function()
  server = serve()
  url = ('ws://127.0.0.1:%s/x'):format(server.port)
end)
teardown(function() server.close() end)

describe('websocket.connect', function()
  it('gives a connection that carries messages both ways', function()
    local ws = assert(websocket.connect { url = url })
    assert.is_true(ws:send 'hällo')
    assert.same({ 'hällo', true }, { ws:receive(5) })
    assert(ws:send 'binary')
    assert.same({ '\1\255', false }, { ws:receive(5) })
    local big = ('x'):rep(1 << 20)
    assert(ws:send(big))
    assert.is_true(ws:receive(5) == big)
    assert.same({ nil, 'nothing within the time', 'waiting' }, { ws:receive(0.01) })
    assert.is_false(ws:ended(0))
    ws:close()
    assert.is_true(ws:ended(5))
    assert.same({ nil, 'closed with code 1000', 'closed' }, { ws:receive() })
    assert.is_nil(ws:send 'x')
  end)

  it('keeps the order of many messages, and does not read ahead without bound', function()
    local ws <close> = assert(websocket.connect { url = url })
    assert(ws:send 'many 2000')
    async.sleep(0.2)
    for i = 1, 2000 do assert.equal(tostring(i), ws:receive(5)) end
  end)

  it('tells how it has ended', function()
    local ws = assert(websocket.connect { url = url })
    ws:send 'close'
    assert.same({ nil, 'closed with code 4001', 'closed' }, { ws:receive(5) })
    ws = assert(websocket.connect { url = url })
    ws:send 'cut'
    local text, message, code = ws:receive(5)
    assert.same({ nil, 'reset' }, { text, code })
    assert.matches('^ws://127.0.0.1:%d+/x: ', message)
    ws = assert(websocket.connect { url = url, max_message = 10 })
    ws:send 'more than ten bytes'
    assert.equal('too_large', select(3, ws:receive(5)))
    ws = assert(websocket.connect { url = url })
    assert.is_nil(ws:send '\xff')
    ws:abandon()
    assert.equal('closed', select(3, ws:receive(5)))
  end)

  it('tells why there is none', function()
    local _, _, code = websocket.connect { url = 'ws://127.0.0.1:1/' }
    assert.equal('connection', code)
    local silent = raw.serve('', 'hang')
    _, _, code = websocket.connect { url = silent.url:gsub('^http', 'ws'), open_timeout = 0.1 }
    assert.equal('timeout', code)
    silent:close()
    local other = raw.serve 'HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n'
    local ws, message
    ws, message, code = websocket.connect { url = other.url:gsub('^http', 'ws') .. '/?ticket=1' }
    assert.same({ nil, 'handshake' }, { ws, code })
    assert.matches('^ws://127.0.0.1:%d+/: the server answered 404 instead of 101$', message)
    other:close()
  end)

  it('leaves nothing behind where it is cancelled', function()
    local silent = raw.serve('', 'hang')
    local waiting = async.spawn(function()
      websocket.connect { url = silent.url:gsub('^http', 'ws') }
    end)
    async.sleep(0.05)
    waiting:cancel()
    silent:close()
    assert.same({ nil, 'cancelled' }, { waiting:await(5) })
  end)

  it('speaks TLS with those whose certificate is vouched for, and HTTP/1.1 alone', function()
    local pair = tls.certificate 'IP:127.0.0.1'
    local secure = serve(pair.cert, pair.key)
    local address = ('wss://127.0.0.1:%s/'):format(secure.port)
    local ws = assert(websocket.connect { url = address, ca_file = pair.cert })
    assert(ws:send 'alpn')
    assert.equal('http/1.1', ws:receive(5))
    local big = ('x'):rep(300000)
    assert(ws:send(big))
    assert.is_true(ws:receive(5) == big)
    ws:close()
    assert.is_true(ws:ended(5))
    local refused, message, code = websocket.connect { url = address }
    assert.same({ nil, 'protocol' }, { refused, code })
    assert.matches('certificate', message)
    secure.close()
    os.execute(("rm -rf '%s'"):format(pair.folder))
  end)

  it('sends over TLS, too, what had to wait for a peer that did not read', function()
    local pair = tls.certificate 'IP:127.0.0.1'
    local secure = serve(pair.cert, pair.key)
    local address = ('wss://127.0.0.1:%s/'):format(secure.port)
    local ws = assert(websocket.connect { url = address, ca_file = pair.cert })
    local other = assert(websocket.connect { url = address, ca_file = pair.cert })
    assert(ws:send 'hold')
    local block, n, ok, why = ('x'):rep(60000), 0, true, nil
    while ok and n < 1000 do
      ok, why = ws:send(block)
      if ok then n = n + 1 end
      async.sleep(0)
    end
    assert.equal('No buffer space available', why)
    assert(other:send 'release')
    for _ = 1, n do assert.is_true(ws:receive(10) == block) end
    ws:close()
    assert.is_true(ws:ended(5))
    secure.close()
    os.execute(("rm -rf '%s'"):format(pair.folder))
  end)

  it('refuses options that are wrong, at the line that called', function()
    local function failure(options)
      local ok, message = pcall(function()
        local ws = websocket.connect(options)
        return ws
      end)
      assert.is_false(ok)
      return message:match '^tests/lua/websocket_spec.lua:%d+: websocket.connect: (.*)$'
    end
    assert.equal('option "url" is missing', failure {})
    assert.equal('url: expected a URL such as "wss://example.org/", not "http://a"',
      failure { url = 'http://a' })
    assert.equal('url: a password does not belong into a URL; use a file',
      failure { url = 'wss://me:secret@a' })
  end)
end)
