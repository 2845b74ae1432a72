--- From a request to who answers it: the table of paths, and what all of them have in common.
local api = require 'server.api'
local auth = require 'server.auth'
local daemon = require 'perigee.daemon'
local embedded = require 'perigee.embedded'
local http = require 'http'
local json = require 'perigee.json'
local safety_api = require 'server.safety_api'
local rule_series = require 'server.rule_series'
local scrape = require 'server.metrics'
local slack = require 'server.slack'
local webhook = require 'server.webhook'

local routes = {}

local ERROR_TYPES = { [400] = 'bad_data', [401] = 'unauthorized', [403] = 'forbidden',
  [404] = 'not_found', [405] = 'bad_data', [409] = 'conflict', [410] = 'gone', [415] = 'bad_data',
  [500] = 'internal', [503] = 'unavailable' }

local SAFE = { ['X-Content-Type-Options'] = 'nosniff', ['X-Frame-Options'] = 'DENY',
  ['Referrer-Policy'] = 'no-referrer', ['Cache-Control'] = 'no-store' }

local function answer(status, kind, body, more)
  local headers = { ['Content-Type'] = kind }
  for name, value in pairs(SAFE) do headers[name] = value end
  for name, value in pairs(more or {}) do headers[name] = value end
  return { status = status, headers = headers, body = body }
end

local function success(data)
  return answer(200, 'application/json', json.encode { status = 'success', data = data })
end

local function failure(status, message)
  return answer(status, 'application/json',
    json.encode { status = 'error', errorType = ERROR_TYPES[status] or 'internal',
    error = message },
    status == 401 and { ['WWW-Authenticate'] = 'Bearer' } or nil)
end

local function text(status, words)
  return answer(status, 'text/plain; charset=utf-8', words .. '\n')
end

-- -- what is not the API --------------------------------------------------------------------------

local CSP =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
  .. "form-action 'none'; frame-ancestors 'none'"

local function page(name, kind)
  return function()
    return answer(200, kind, embedded.get('runtime/app/web/' .. name),
      { ['Content-Security-Policy'] = CSP })
  end
end

local function healthy() return text(200, 'perigee is healthy') end

local function reload()
  local ok, problems = daemon.reload()
  if ok then return text(200, #problems == 0 and 'reloaded' or table.concat(problems, '\n')) end
  return text(500, table.concat(problems, '\n'))
end

local function expose(engine, request)
  local kind, body = scrape.expose(engine, request.headers.accept or '')
  return answer(200, kind, body)
end

local function expose_rules(engine)
  return answer(200, rule_series.TYPE, rule_series.expose(engine))
end

--- Slack's requests are signed; an answer to one has an empty body.
local function interactions(engine, request)
  local said, refusal = slack.interactions(engine, request)
  if said then return answer(200, 'text/plain; charset=utf-8', said.text) end
  return failure(refusal.status, refusal.message)
end

-- -- the table ------------------------------------------------------------------------------------

local GET, POST = { GET = true, HEAD = true }, { POST = true }

--- `needs`: the role; `run`: the API's function; `raw`: what answers by itself. `signed`: believed
--- for its signature, by whatever name of ours it comes in.
local PATHS = {
  ['/'] = { methods = GET, needs = 'open', raw = page('index.html', 'text/html; charset=utf-8') },
  ['/app.js'] = { methods = GET, needs = 'open',
  raw = page('app.js', 'text/javascript; charset=utf-8') },
  ['/style.css'] = { methods = GET, needs = 'open',
  raw = page('style.css', 'text/css; charset=utf-8') },
  ['/metrics'] = { methods = GET, needs = 'open', raw = expose },
  ['/metrics/rules'] = { methods = GET, needs = 'viewer', raw = expose_rules },
  ['/-/healthy'] = { methods = GET, needs = 'open', raw = healthy },
  ['/healthz'] = { methods = GET, needs = 'open', raw = healthy },
  ['/livez'] = { methods = GET, needs = 'open', raw = healthy },
  ['/-/ready'] = { methods = GET, needs = 'open',
  raw = function() return text(200, 'perigee is ready') end },
  ['/readyz'] = { methods = GET, needs = 'open',
  raw = function() return text(200, 'perigee is ready') end },
  ['/-/reload'] = { methods = { POST = true, PUT = true }, needs = 'admin', lifecycle = true,
  raw = reload },
  ['/slack/interactions'] = { methods = POST, needs = 'open', signed = true, raw = interactions },
  ['/api/v1/signals'] = { methods = GET, needs = 'viewer', run = api.signals },
  ['/api/v1/forecasts'] = { methods = GET, needs = 'viewer', run = api.forecasts },
  ['/api/v1/predictions'] = { methods = GET, needs = 'viewer', run = api.predictions },
  ['/api/v1/incidents'] = { methods = GET, needs = 'viewer', run = api.incidents },
  ['/api/v1/plans'] = { methods = GET, needs = 'viewer', run = api.plans },
  ['/api/v1/approvals'] = { methods = GET, needs = 'viewer', run = api.approvals },
  ['/api/v1/audit'] = { methods = GET, needs = 'viewer', run = api.audit },
  ['/api/v1/status'] = { methods = GET, needs = 'viewer', run = api.status },
  ['/api/v1/rules'] = { methods = GET, needs = 'viewer', run = api.rules },
  ['/api/v1/alerts'] = { methods = GET, needs = 'viewer', run = api.alerts },
  ['/api/v1/status/buildinfo'] = { methods = GET, needs = 'viewer', run = api.buildinfo },
  ['/api/v1/rules/enable'] = { methods = POST, needs = 'admin', run = api.enable_rule },
  ['/api/v1/webhook/alertmanager'] = { methods = POST, needs = 'alert_sender',
  run = webhook.alertmanager },
  ['/api/v1/webhook/alerts'] = { methods = GET, needs = 'viewer', run = webhook.alerts },
  ['/api/v1/trust'] = { methods = GET, needs = 'viewer', run = safety_api.trust },
  ['/api/v1/storm'] = { methods = GET, needs = 'viewer', run = safety_api.storm },
  ['/api/v1/storm/end'] = { methods = POST, needs = 'admin', run = safety_api.end_storm },
  ['/api/v1/kill_switch'] = { methods = POST, needs = 'admin', run = api.kill_switch },
}

--- Paths with an id in them.
local PATTERNS = {
  { '^/api/v1/incidents/([%w%-]+)$', { methods = GET, needs = 'viewer', run = api.incident } },
  { '^/api/v1/incidents/([%w%-]+)/acknowledge$',
  { methods = POST, needs = 'approver', run = api.acknowledge } },
  { '^/api/v1/incidents/([%w%-]+)/why$',
  { methods = GET, needs = 'viewer', run = safety_api.why_incident } },
  { '^/api/v1/plans/([%w%-]+)/why$',
  { methods = GET, needs = 'viewer', run = safety_api.why_plan } },
  { '^/api/v1/playbooks/(.+)/why_not$',
  { methods = GET, needs = 'viewer', run = safety_api.why_not } },
  { '^/api/v1/trust/(.+)/restore$',
  { methods = POST, needs = 'admin', run = safety_api.restore_trust } },
  { '^/api/v1/plans/([%w%-]+)$', { methods = GET, needs = 'viewer', run = api.plan } },
  { '^/api/v1/plans/([%w%-]+)/approve$',
  { methods = POST, needs = 'approver', run = api.approve } },
  { '^/api/v1/plans/([%w%-]+)/reject$', { methods = POST, needs = 'approver', run = api.reject } },
}

local function find(path)
  if PATHS[path] then return PATHS[path] end
  for _, entry in ipairs(PATTERNS) do
    local id = path:match(entry[1])
    if id then return entry[2], id end
  end
end

local function methods_text(methods)
  local names = {}
  for name in pairs(methods) do names[#names + 1] = name end
  table.sort(names)
  return table.concat(names, ', ')
end

--- The decoded body of a request, or why it is refused. JSON alone: a form can be sent by any page.
local function read_body(request)
  if request.body == '' then return {} end
  local kind = (request.headers['content-type'] or ''):lower()
  if kind:match '^[^;%s]*' ~= 'application/json' then
    return nil, 415, 'the Content-Type must be application/json'
  end
  local body, message = json.decode(request.body)
  if type(body) ~= 'table' then return nil, 400, message or 'a JSON object is expected' end
  return body
end

local function run_api(engine, route, request, id, identity)
  local body, status, message = read_body(request)
  if not body then return failure(status, message) end
  local data, refusal = route.run(engine, { fields = http.parse_form(request.query),
    lists = http.parse_lists(request.query), body = body, id = id, identity = identity,
    via = request.headers['x-perigee-client'] == 'cli' and 'cli' or 'api' })
  if data == nil then return failure(refusal.status, refusal.message) end
  return success(data)
end

--- The function that answers the requests of a generation.
---@param engine table
---@return fun(request: table): table
function routes.handler(engine)
  return function(request)
    local route, id = find(request.path)
    local refused = not (route and route.signed) and auth.refuse_request(engine.config, request)
    if refused then return failure(403, refused) end
    if not route then return failure(404, ('there is nothing at %s'):format(request.path)) end
    if not route.methods[request.method] then
      local response = failure(405,
        ('%s takes %s'):format(request.path, methods_text(route.methods)))
      response.headers.Allow = methods_text(route.methods)
      return response
    end
    local needs = route.lifecycle and engine.config.lifecycle and 'open' or route.needs
    local identity, refusal = auth.check(engine.config, request, needs)
    if not identity then return failure(refusal.status, refusal.message) end
    if route.raw then return route.raw(engine, request) end
    return run_api(engine, route, request, id, identity)
  end
end

return routes
