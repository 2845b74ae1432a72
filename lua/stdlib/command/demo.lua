--- `perigee demo`: the main job, end to end, on a real Prometheus and a small shop. It starts what
--- it needs, breaks the shop, and shows what Perigee makes of it; everything is gone when it ends.
local cli = require 'command.cli'
local clock = require 'perigee.clock'
local embedded = require 'perigee.embedded'
local hash = require 'perigee.hash'
local http = require 'http'
local json = require 'perigee.json'
local testing = require 'testing.world'

local get, must = testing.get, testing.must

-- -- telling the story ----------------------------------------------------------------------------

local started

local function say(format, ...)
  io.write(cli.colour('dim', ('%6.1f s  '):format(clock.monotonic() - started)), format:format(...),
    '\n')
  io.flush()
end

local function headline(text)
  io.write('\n', cli.colour('bold', text), '\n')
  io.flush()
end

-- -- the world and its inhabitants -------------------------------------------------------------

local World = setmetatable({}, { __index = testing.World })
World.__index = World

local function new_world()
  local self = setmetatable(testing.new 'perigee-demo', World)
  self.ports = {}
  for _, name in ipairs { 'prometheus', 'shop', 'perigee' } do
    self.ports[name] = testing.free_port()
  end
  return self
end

function World:url(name, path) return ('http://127.0.0.1:%d%s'):format(self.ports[name],
  path or '') end

function World:start_prometheus()
  local instance = ('127.0.0.1:%d'):format(self.ports.shop)
  self:prometheus { port = self.ports.prometheus, targets = { instance },
    history = self:shop_history(instance) }
end

function World:shop_version() return (json.decode(get(self:url('shop', '/version')) or '{}')
  or {}).version end

function World:deploy_bad_version()
  local response = http.request { method = 'POST', url = self:url('shop', '/deploy'),
    body = '{"version": 2}' }
  must(response and response.status == 200 and self:shop_version() == 2,
    'the bad version could not be deployed')
end

function World:write_rules(trust)
  local rules = embedded.get 'examples/shop/rules/shop.lua'
  local n
  rules, n = rules:gsub('trust = "%w+"', ('trust = "%s"'):format(trust))
  must(n == 1, 'the rules name no trust')
  self:write('rules/shop.lua', rules)
end

function World:start_perigee()
  self.token = hash.random(16)
  self:write('token', self.token .. '\n')
  local ports = { ['9747'] = self.ports.perigee, ['9090'] = self.ports.prometheus,
    ['8080'] = self.ports.shop }
  local config = embedded.get 'examples/shop/perigee.yaml':gsub('%d+', ports) -- whole numbers only
  self:write('perigee.yaml', config)
  self:write_rules 'auto'
  self.perigee = self:start('perigee', { self.program, 'run', '-c', self:path 'perigee.yaml' })
  self:wait_for('Perigee', 10, function() return get(self:url('perigee', '/-/ready')) end)
end

--- Asks Perigee's API, as any client would.
function World:api(method, path, body)
  local response, message = http.request { method = method, url = self:url('perigee', path),
    timeout = 10,
    headers = { Authorization = 'Bearer ' .. self.token, ['Content-Type'] = 'application/json' },
    body = body and json.encode(body), max_body = 16 << 20 }
  must(response, 'Perigee does not answer: %s', tostring(message))
  return (json.decode(response.body) or {}).data, response.status
end

-- -- what is to be seen ---------------------------------------------------------------------------

function World:wait_for_baselines()
  local function learned()
    for _, signal in ipairs(self:api('GET', '/api/v1/signals')) do
      local series = signal.series[1]
      if not series or series.condition ~= 'ok' then return nil end
    end
    return true
  end
  self:wait_for('baselines and normal values', 40, learned)
  for _, signal in ipairs(self:api('GET', '/api/v1/signals')) do
    say('%-17s is normal: %s', signal.name, signal.series[1].reason)
  end
end

--- From the bad deployment to the open incident.
function World:break_shop()
  self:deploy_bad_version()
  say('version 2 is deployed, and it is bad')
  local told = {}
  return self:wait_for('an open incident', 40, function()
    for _, signal in ipairs(self:api('GET', '/api/v1/signals')) do
      local series = signal.series[1]
      if series and series.state == 'firing' and not told[signal.name] then
        told[signal.name] = true
        say('%-17s is odd: %s (score %.1f, confidence %.0f)', signal.name, series.reason,
          series.anomaly_score, series.confidence)
      end
    end
    for _, incident in ipairs(self:api('GET', '/api/v1/incidents')) do
      if incident.state ~= 'resolved' then
        say('incident %s %s opened from %d odd series', incident.id, incident.name,
          incident.anomaly_count)
        say('it recommends: %s', incident.recommendation)
        return incident
      end
    end
  end)
end

function World:plan_of(incident)
  local id = self:wait_for('a plan', 10,
    function() return self:api('GET', '/api/v1/incidents/' .. incident.id).plans[1] end)
  local p = self:api('GET', '/api/v1/plans/' .. id)
  say('plan %s by %s, trust %s, digest %s…', p.id, p.playbook, p.trust, p.digest:sub(1, 19))
  return p
end

--- From the plan that runs to the incident that is over.
function World:watch_recovery(incident, p)
  self:wait_for('the rollback', 20, function() return self:shop_version() == 1 end)
  say('the shop is back at version 1')
  p = self:wait_for('the end of the plan', 80, function()
    local now = self:api('GET', '/api/v1/plans/' .. p.id)
    return now.state ~= 'executing' and now.state ~= 'approved' and now or nil
  end)
  must(p.state == 'executed', 'the plan ended as %s: %s', p.state, p.reason or '')
  for i, action in ipairs(p.actions) do
    say('action %d, %s: %s, %s', i, action.name, action.state, action.outcome.message)
  end
  self:wait_for('the end of the incident', 60, function()
    return self:api('GET', '/api/v1/incidents/' .. incident.id).state == 'resolved'
  end)
  say('incident %s is resolved', incident.id)
end

function World:reload_to(trust)
  self:write_rules(trust)
  self.perigee:kill(1)
  self:wait_for('the reload', 10, function()
    for _, line in ipairs(self:api('GET', '/api/v1/status').last_reload.problems) do
      must(false, 'reload: %s', line)
    end
    local text = get(self:url('perigee', '/metrics')) or ''
    return tonumber(text:match 'perigee_reloads_total{outcome="ok"} (%d+)') == 2
  end)
  say('SIGHUP: the playbook\'s trust is now %s', trust)
end

-- -- the acts -------------------------------------------------------------------------------------

local function act_auto(world)
  headline 'A bad deployment, and a playbook that is trusted'
  local incident = world:break_shop()
  local p = world:plan_of(incident)
  must(p.trust == 'auto', 'the trust is %s', p.trust)
  world:watch_recovery(incident, p)
  return incident
end

local function act_approval(world)
  headline 'The same once more, and a person decides'
  world:reload_to 'human_approve'
  local incident = world:break_shop()
  local p = world:plan_of(incident)
  must(p.state == 'pending', 'the plan is %s', p.state)
  must(world:shop_version() == 2, 'something ran before it was approved')
  local _, status = world:api('POST', ('/api/v1/plans/%s/approve'):format(p.id),
    { digest = 'sha256:' .. ('0'):rep(64) })
  must(status == 409, 'a wrong digest was answered with %d', status)
  say('nothing has run; an approval of another digest is refused (409)')
  local approved
  approved, status = world:api('POST', ('/api/v1/plans/%s/approve'):format(p.id),
    { digest = p.digest, reason = 'seen in the demo' })
  must(status == 200, 'the approval was answered with %d', status)
  say('approved by %s over the API', approved.decisions[1].who)
  world:watch_recovery(incident, p)
  _, status = world:api('POST', ('/api/v1/plans/%s/approve'):format(p.id), { digest = p.digest })
  must(status == 409, 'a second approval was answered with %d', status)
  say('a second approval is refused (409)')
  return incident
end

local function act_broken_rules(world)
  headline 'A broken rule file'
  local before = world:api('GET', '/api/v1/rules')
  world:write('rules/broken.lua',
    [[
signal "oops" {
  query = "up",
  detector = z_score { treshold = 4 },
  hold_for = "2 minutes",
}
]])
  world.perigee:kill(1)
  local reload = world:wait_for('the refusal', 10, function()
    local last = world:api('GET', '/api/v1/status').last_reload
    return last.outcome == 'failed' and last or nil
  end)
  must(#reload.problems == 2, 'expected two problems, got %d', #reload.problems)
  for _, line in ipairs(reload.problems) do say('%s', (line:gsub('^.*/rules/', 'rules/'))) end
  local after = world:api('GET', '/api/v1/rules')
  must(#after.groups == #before.groups and #after.groups[1].rules == #before.groups[1].rules,
    'the rules have changed')
  say('nothing has changed: %d rules are active as before', #after.groups[1].rules)
end

local function prove(world)
  headline 'The proof'
  local data = world:api('GET', '/api/v1/audit?limit=1000')
  local verifier = require('engine.audit').verifier()
  for _, record in ipairs(data.records) do must(verifier:add(record)) end
  must(verifier:finish(data.head), 'the head does not fit')
  say('the audit trail is whole: %d records, head %s…', verifier.records, data.head:sub(1, 12))
  for _, record in ipairs(data.records) do
    if record.kind:find '^action_' or record.kind == 'decision' then
      say('  %-17s %s %s', record.kind, record.action or record.decision,
        record.message or record.target or record.who)
    end
  end
end

local function play(world)
  headline 'A shop, its Prometheus, and Perigee'
  world:start_prometheus()
  say('Prometheus runs with two weeks of history')
  world:shop(world.ports.shop, 20)
  say('the shop runs at %s, with 20 customers a second', world:url 'shop')
  world:start_perigee()
  say('Perigee runs at %s', world:url 'perigee')
  world:wait_for_baselines()
  local first, second = act_auto(world), act_approval(world)
  act_broken_rules(world)
  prove(world)
  headline 'Summary'
  say('2 bad deployments, 2 incidents (%s, %s), 2 rollbacks, both verified; 1 reload, 1 refused',
    first.id, second.id)
end

local SPEC = {
  usage = 'demo [--keep]',
  summary = 'Shows it all in about a minute, on a real Prometheus and a small shop.',
  details = [[
A bad deployment, odd signals, an incident, a rollback, the proof; then once more with an
approval, and with a broken rule file. Needs the programs prometheus and promtool.]],
  options = { { name = 'keep', help = 'leaves the folder with logs and data' } },
}

return function(...)
  local values, status = cli.parse(SPEC, ...)
  if not values then return status end
  started = clock.monotonic()
  local world
  local ok, message = xpcall(function()
    world = new_world()
    play(world)
  end, function(e)
    return getmetatable(e) == testing.Failure and e.message or debug.traceback(e)
  end)
  if world then
    local keep = values.keep or not ok
    world:close(keep)
    if keep then say('logs and data are in %s', world.folder) end
  end
  if not ok then
    cli.error('the demo failed: ' .. message)
    return cli.NOT_AS_IT_SHOULD_BE
  end
  say('everything that was started is gone')
  return cli.DONE
end
