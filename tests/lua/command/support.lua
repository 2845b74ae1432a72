--- What the specs of commands share: the program itself, run as in a shell, and a service for it to
--- talk to.
local daemon = require 'fakes.daemon' -- before what requires the real one
local engine_support = require 'lua.engine.support'
local file = require 'perigee.file'
local http = require 'http'
local json = require 'json'
local process = require 'perigee.process'
local routes = require 'server.routes'

local support = { daemon = daemon }

local PROGRAM = file.executable()

--- Runs a command line in an environment of its own.
---@param args string[]  env = { "A=b" … } beside PATH
---@return { status: integer, out: string, err: string }
function support.run(args)
  local env = { 'PATH=' .. os.getenv 'PATH', 'HOME=/nonexistent', table.unpack(args.env or {}) }
  for name, value in pairs { ASAN_OPTIONS = os.getenv 'ASAN_OPTIONS',
    LSAN_OPTIONS = os.getenv 'LSAN_OPTIONS' } do
    env[#env + 1] = name .. '=' .. value
  end
  local child = assert(process.start { PROGRAM, env = env, cwd = args.cwd,
    table.unpack(args) })
  local status, out, err = child:wait(60)
  return { status = assert(status, 'it does not end'), out = out, err = err }
end

--- The document that a command printed.
function support.document(result)
  local value, message = json.decode(result.out)
  assert(value ~= nil, ('%s: %s%s'):format(message, result.out, result.err))
  return value
end

-- -- a service ------------------------------------------------------------------------------------

local RULES = [[
signal "latency" { query = "q", every = "10s", detector = threshold { above = 1 } }
incident "slow" { signals = { "latency" }, min_signals = 1, group_by = { "app" },
  recommend = function() return "Look at\27[31m it" end }
playbook "mend" { when = incident "slow", trust = "human_approve",
  plan = { http.request { method = "POST", url = "http://shop/rollback", body = "a\27[1mb",
    headers = { ["X-A"] = "b" } } } }
]]

local TOKENS = { tokens = { { name = 'vera', role = 'viewer', token_file = 'f' },
  { name = 'anna', role = 'approver', token_file = 'f' },
  { name = 'adam', role = 'admin', token_file = 'f' } } }

--- A service with an engine in it, for f(world). `world.run { command, … }` asks it as adam, with
--- `as = NAME` as somebody else, with `as = false` as nobody.
function support.with_service(f)
  engine_support.still()
  local engine = engine_support.engine { rules = RULES, config = { auth = TOKENS,
    guardrails = { dry_run = false, http = { { url_prefix = 'http://shop/' } } } } }
  local server = assert(http.serve({}, routes.handler(engine)))
  local world = { engine = engine, url = ('http://127.0.0.1:%d'):format(server:port()),
    folder = engine_support.folder() }
  for _, token in ipairs(engine.config.auth.tokens) do
    assert(file.write(('%s/%s'):format(world.folder, token.name), token.token .. '\n'))
  end

  --- The signal fires, an incident opens, and its plan waits for a person: both of them.
  function world.go_wrong()
    return engine_support.go_wrong(engine, engine.rules.incidents.slow)
  end

  function world.run(args)
    local all = { args[1], '--url', world.url, table.unpack(args, 2) }
    if args.as ~= false then
      table.move({ '--token-file', ('%s/%s'):format(world.folder, args.as or 'adam') }, 1, 2,
        #all + 1, all)
    end
    return support.run(all)
  end
  local ok, message = pcall(f, world)
  server:close()
  engine_support.tidy()
  assert(ok, message)
end

-- -- what every command has -------------------------------------------------------------------

--- That a command tells of itself, and refuses what it does not know.
---@param name string
---@param options string[]  that its help names, in order
function support.explains_itself(name, options)
  for _, flag in ipairs { '--help', '-h' } do
    local help = support.run { name, flag }
    assert(help.status == 0 and help.err == '', help.err)
    assert(help.out:find(('Usage: perigee %s'):format(name), 1, true) == 1, help.out)
    local named = {}
    for option in help.out:gmatch '\n  [- ].[, ] %-%-([%w-]+)' do named[#named + 1] = option end
    assert(table.concat(named, ' ') == table.concat(options, ' ') .. ' help',
      'its help names ' .. table.concat(named, ' '))
  end
  local unknown = support.run { name, '--no-such-option' }
  assert(unknown.status == 2 and unknown.out == '', unknown.out)
  assert(unknown.err:find('perigee: unknown option "--no-such-option"', 1, true) == 1, unknown.err)
  assert(unknown.err:find(('\nTry "perigee %s --help".\n'):format(name), 1, true), unknown.err)
end

--- That a command which talks to a service says why it cannot.
---@param ... string  its arguments
function support.needs_a_service(...)
  local args = { ... }
  local function run(name, value)
    local all = table.move(args, 1, #args, 1, {})
    all[#all + 1], all[#all + 2] = name, value
    return support.run(all)
  end
  local nobody = run('--url', 'http://127.0.0.1:1')
  assert(nobody.status == 3 and nobody.out == '', nobody.out)
  assert(nobody.err:find('^perigee: no perigee answers at http://127.0.0.1:1: '), nobody.err)
  local no_url = run('--url', 'shop')
  assert(no_url.status == 2 and no_url.out == '', no_url.out)
  assert(no_url.err:find('^perigee: %-%-url: expected a URL'), no_url.err)
  local no_token = run('--token-file', '/no/such')
  assert(no_token.status == 2 and no_token.out == '', no_token.out)
  assert(no_token.err:find('^perigee: cannot read /no/such'), no_token.err)
end

return support
