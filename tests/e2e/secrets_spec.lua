--- Secrets stay where they are used: in no log, no answer, no metric, no file, at any log level,
--- not even when others send them back.
local fake = require 'fakes.prometheus'
local file = require 'perigee.file'
local http = require 'http'
local testing = require 'testing.world'
local world = require 'e2e.world'

local SECRETS <const> = { source = 'source-secret-0123456789', header = 'header-secret-0123456789',
  action = 'action-secret-0123456789', pager = 'pager-secret-0123456789',
  env = 'env-secret-0123456789' }

--- A server that answers with what it was asked, headers and all; what it was asked is kept.
local function echo(status, kind, fine)
  local asked = {}
  local server = assert(http.serve({}, function(request)
    local lines = {}
    for name, value in pairs(request.headers) do lines[#lines + 1] = name .. ': ' .. value end
    asked[#asked + 1] = table.concat(lines, '\n')
    if request.path == fine then return { body = '[]' } end
    local words = table.concat(lines, ' '):gsub('"', '')
    return { status = status, headers = { ['Content-Type'] = kind },
      body = ('{"status":"error","errorType":"internal","error":"%s"}'):format(words) }
  end))
  return server, ('http://127.0.0.1:%d/'):format(server:port()), asked
end

describe('a secret', function()
  local w, servers
  before_each(function() w, servers = world.new(), {} end)
  after_each(function()
    w:close()
    for _, server in ipairs(servers) do server:close() end
  end)

  --- A perigee that uses every secret it can have, against peers that echo them.
  local function perigee(format)
    local source, action, action_url, actions_asked, pager, pager_url, pages
    source = fake.serve()
    action, action_url, actions_asked = echo(500, 'text/plain')
    pager, pager_url, pages = echo(400, 'application/json', '/api/v2/silences')
    servers = { source, action, pager }
    source.values.fires = 9
    local echoing = 0
    source.answer = function(request, query)
      if query ~= 'echo' then return end
      echoing = echoing + 1
      return fake.json({ status = 'error', errorType = 'internal', error = 'who is '
        .. request.headers.authorization .. ' ' .. request.headers['x-api-key'] }, 500)
    end
    for name, secret in pairs(SECRETS) do w:write('secret-' .. name, secret .. '\n') end
    local p = w:configure { source = source.url, tokens = { admin = 'admin' },
      env = { 'PERIGEE_E2E_TOKEN=' .. SECRETS.env },
      rules = { ['x.lua'] = ([[
signal "fires" { query = "fires", every = "1s", detector = threshold { above = 5 } }
signal "echoed" { query = "echo", every = "1s", detector = threshold { above = 5 } }
incident "odd" { signals = { "fires" }, min_signals = 1 }
playbook "act" { when = incident "odd", trust = "auto", plan = {
  http.request { method = "POST", url = "%s" } } }]]):format(action_url) },
      config = ([[
alertmanager: { url: "%s", bearer_token_file: ../secret-pager }
guardrails: { dry_run: false, http: [ { url_prefix: "%s", bearer_token_file: ../secret-action } ] }
log: { level: debug, format: %s }
]]):format(pager_url, action_url, format) }
    p.common = p.common:gsub('timeout: 5s', ('bearer_token_file: ../secret-source, '
      .. 'headers: { X-Api-Key: %s }'):format(SECRETS.header))
      :gsub('tokens: %[ ', 'tokens: [ { name: ci, role: viewer, token_env: PERIGEE_E2E_TOKEN }, ')
    p:set_config()
    p:start()
    w:wait_for('every secret to be used', 15, function()
      return echoing > 1 and actions_asked[1] and pages[2]
    end)
    assert.truthy(actions_asked[1]:find('Bearer ' .. SECRETS.action, 1, true))
    assert.truthy(pages[1]:find('Bearer ' .. SECRETS.pager, 1, true))
    return p
  end

  --- Everything that perigee has said and kept, by where.
  local function said(p)
    local out = { log = p:log() }
    for _, path in ipairs { '/metrics', '/api/v1/signals', '/api/v1/incidents', '/api/v1/plans',
      '/api/v1/approvals', '/api/v1/audit', '/api/v1/status', '/api/v1/rules', '/api/v1/alerts' } do
      out[path] = assert(p:request('GET', path, nil, 'admin')).body
    end
    for _, name in ipairs { 'status', 'incidents', 'approvals', 'audit' } do
      out[name] = select(2, p:cli('admin', name))
    end
    for _, path in ipairs(file.glob(p.folder .. '/data/*')) do out[path] = file.read(path) end
    return out
  end

  for _, format in ipairs { 'logfmt', 'json' } do
    it('is never told: ' .. format, function()
      local p = perigee(format)
      http.request { url = p.url .. '/api/v1/signals?token=' .. p.tokens.admin,
        headers = { Authorization = 'Bearer ' .. SECRETS.env } }
      p:request('POST', '/api/v1/plans/plan-0/approve', { digest = p.tokens.admin }, 'admin')
      p:request('POST', '/-/reload', nil, 'admin')
      w:wait_for('what has been said', 10, function()
        return p:log():find('who is', 1, true)
          and p:metric 'perigee_pages_total{outcome="failed"}' > 0
      end)
      local secrets = { admin = p.tokens.admin }
      for name, secret in pairs(SECRETS) do secrets[name] = secret end
      for where, text in pairs(said(p)) do
        for name, secret in pairs(secrets) do
          local at = text:find(secret, 1, true)
          assert.is_nil(at, at and ('the secret "%s" is in %s: %s'):format(name, where,
            text:sub(math.max(1, at - 200), at + 50)))
        end
      end
      assert.truthy(p:log():find('[redacted]', 1, true))
      assert.equal(200, http.request { url = p.url .. '/api/v1/signals',
        headers = { Authorization = 'Bearer ' .. SECRETS.env } }.status)
      assert.truthy(testing.get(p.url .. '/metrics'))
    end)
  end
end)
