--- http.request: one HTTP request to a URL that the operator allows. Sent once: whether it may be
--- sent again after an uncertain end is not for a program to guess.
local check = require 'check'
local http = require 'http'
local json = require 'perigee.json'

local METHODS = { 'GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE' }

--- Credentials are the operator's (guardrails.http): a plan is shown to people and kept.
local SECRET = { authorization = true, cookie = true, ['proxy-authorization'] = true }

--- Where a request goes and where it ends is said by its URL and body alone: guardrails look there.
local OURS = { host = true, connection = true, ['content-length'] = true,
  ['transfer-encoding'] = true, ['idempotency-key'] = true }

local HEADERS = http.headers()

local headers = { test = function(v)
  local message, out, nested = HEADERS.test(v)
  if message then return message, nil, nested end
  for _, name in ipairs(check.names(v)) do
    if SECRET[name:lower()] then
      return ('"%s" is the operator\'s to set, in guardrails.http; a plan holds no secret'):format(
        name)
    end
    if OURS[name:lower()] then return ('"%s" is not a plan\'s to set'):format(name) end
  end
  return nil, out
end }

local body = { test = function(v)
  if type(v) == 'string' then return end
  if type(v) ~= 'table'
    or v.kind == 'function' then return check.expected('a text, or a table to send as JSON', v) end
  if not pcall(json.encode, v) then return 'this table cannot be written as JSON' end
end }

local status = check.number(nil, { min = 100, max = 599, integer = true })
local expect_status = { test = function(v)
  if type(v) == 'table' then return check.list_of(status).test(v) end
  return status.test(v)
end }

local REQUEST = {
  method = check.required(check.one_of(nil, METHODS)),
  url = check.required { test = http.check_url },
  headers = headers,
  body = body,
  expect_status = expect_status,
}

local SPEC = { timeout = check.duration('10s', { min = 0.1 }), revert = check.table_of(REQUEST) }
for name, rule in pairs(REQUEST) do SPEC[name] = rule end

--- What a request acts on: where it goes, without what it says.
local function target(args)
  local u = http.parse_url(args.url)
  return ('%s %s://%s:%d%s'):format(args.method, u.scheme, u.host, u.port, u.path)
end

--- Whether a path lies below a prefix: "/shop" covers "/shop" and "/shop/x", not "/shopping".
local function below(path, prefix)
  if path:sub(1, #prefix) ~= prefix then return false end
  return prefix:sub(-1) == '/' or #path == #prefix or path:sub(#prefix + 1, #prefix + 1) == '/'
end

--- The operator's rule that covers a request, or nil. Compared part by part: texts that begin alike
--- can lead to different hosts.
local function rule_for(args, rules)
  local u = http.parse_url(args.url)
  for _, rule in ipairs(rules or {}) do
    local p = http.parse_url(rule.url_prefix)
    local method_fits = not rule.methods
    for _, m in ipairs(rule.methods or {}) do method_fits = method_fits or m == args.method end
    if method_fits and p.scheme == u.scheme and p.host == u.host and p.port == u.port
        and below(u.path, p.path) and not u.path:find('%%2[eE]') and not u.path:find '\\' then
      return rule
    end
  end
end

local function one_allowed(args, config)
  if not rule_for(args, config.guardrails.http) then
    return ('guardrails.http does not allow %s'):format(target(args))
  end
  local u = http.parse_url(args.url)
  if u.host:find '^169%.254%.' or u.host:find '^fe[89ab]' then
    return 'link-local addresses are refused'
  end
end

local function allowed(args, config)
  local rules = config.guardrails.http
  if not rules or #rules == 0 then return 'guardrails.http allows no request at all' end
  local why = one_allowed(args, config)
  if why or not args.revert then return why end
  why = one_allowed(args.revert, config)
  return why and 'its revert: ' .. why
end

local function fits(code, expected)
  if expected == nil then return code >= 200 and code < 300 end
  for _, one in ipairs(type(expected) == 'table' and expected or { expected }) do
    if one == code then return true end
  end
  return false
end

--- Without an answer it is known not to have happened only where no connection came about.
local NOT_SENT = { connection = true, dns = true, tls = true, refused = true, url = true }

local function run(args, context)
  local rule = rule_for(args, context.config.guardrails.http)
  local send = { ['Idempotency-Key'] = context.key }
  for name, value in pairs(args.headers or {}) do send[name] = value end
  local content = args.body
  if type(content) == 'table' then
    content, send['Content-Type'] = json.encode(content), send['Content-Type'] or 'application/json'
  end
  if rule.bearer_token_file then
    local value, message = http.bearer(rule.bearer_token_file)
    if not value then return { result = 'failed', message = message } end
    send.Authorization = value
  end
  local response, message, code = http.request {
    method = args.method, url = args.url, headers = send, body = content,
      timeout = args.timeout or 10,
    target = 'action', guarded = true, refuse_port = context.own_port,
  }
  if not response then
    return { result = NOT_SENT[code] and 'failed' or 'unknown', message = message }
  end
  return { result = fits(response.status, args.expect_status) and 'succeeded' or 'failed',
    status = response.status,
    message = ('answered %d in %.0f ms'):format(response.status, response.seconds * 1000) }
end

local function can_revert(args) return args.revert ~= nil end
local function revert(args, context) return run(args.revert, context) end

return { spec = SPEC, changes = true, target = target, allowed = allowed, run = run,
  can_revert = can_revert, revert = revert }
