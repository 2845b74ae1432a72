--- A GitHub that keeps comments: the few paths that are asked, with tokens, pages, limits and
--- refusals. What it answers is held against GitHub's own description by a proxy, in
--- tests/e2e/github_spec.lua.
local http = require 'http'
local json = require 'json'

local github = {}

local HOST = 'https://api.github.com'

local function user(login)
  local id = 0
  for i = 1, #login do id = id * 31 % 1000003 + login:byte(i) end
  local url = HOST .. '/users/' .. login:gsub('[%[%]]', '')
  local out = { login = login, id = id, node_id = 'U_' .. id, avatar_url = url .. '/avatar',
    gravatar_id = '', url = url, html_url = url, site_admin = false,
    type = login:find '%[bot%]$' and 'Bot' or 'User' }
  for _, name in ipairs { 'followers', 'following', 'gists', 'starred', 'subscriptions',
    'organizations', 'repos', 'events', 'received_events' } do
    out[name .. '_url'] = url .. '/' .. name
  end
  return out
end

local function answer(status, body, headers)
  headers = headers or {}
  headers['Content-Type'] = 'application/json; charset=utf-8'
  return { status = status, headers = headers, body = body and json.encode(body) or '' }
end

local function refuse(status, message, headers)
  return answer(status, { message = message, documentation_url = 'https://docs.github.com/rest',
    status = tostring(status) }, headers)
end

local Github = {}
Github.__index = Github

--- Puts a comment of somebody there.
function Github:comment(login, body)
  self.last = self.last + 1
  local url = ('%s/repos/acme/shop/issues/comments/%d'):format(HOST, self.last)
  local c = { id = self.last, node_id = 'IC_' .. self.last, url = url, html_url = url,
    issue_url = HOST .. '/repos/acme/shop/issues/7', body = body, user = user(login),
    created_at = '2026-01-01T00:00:00Z', updated_at = '2026-01-01T00:00:00Z',
    author_association = 'NONE' }
  self.comments[#self.comments + 1] = c
  return c
end

--- The bodies of somebody's comments.
function Github:bodies(login)
  local out = {}
  for _, c in ipairs(self.comments) do
    if c.user.login == login then out[#out + 1] = c.body end
  end
  return out
end

function Github:list(request)
  local fields = http.parse_form(request.query)
  local size, page = tonumber(fields.per_page or 30), tonumber(fields.page or 1)
  local items = json.array(table.move(self.comments, (page - 1) * size + 1,
    math.min(page * size, #self.comments), 1, {}))
  local more = page * size < #self.comments
  return answer(200, items, more
    and { Link = ('<%s?page=%d>; rel="next"'):format(HOST, page + 1) } or nil)
end

local ROUTES = {
  { 'GET', '^/user$', function(self)
    if self.is_workflow then return refuse(403, 'Resource not accessible by integration') end
    local me = user(self.login)
    for name, value in pairs { name = 'Perigee', company = json.null, blog = '',
      location = json.null, email = json.null, hireable = json.null, bio = json.null,
      public_repos = 0, public_gists = 0, followers = 0, following = 0,
      created_at = '2026-01-01T00:00:00Z', updated_at = '2026-01-01T00:00:00Z' } do
      me[name] = value
    end
    return answer(200, me)
  end },
  { 'GET', '^/repos/acme/shop/issues/7/comments$', Github.list },
  { 'POST', '^/repos/acme/shop/issues/7/comments$', function(self, request)
    if self.is_fork then return refuse(403, 'Resource not accessible by integration') end
    local made = self:comment(self.login, json.decode(request.body).body)
    if self.loses_answers then return { drop = true } end
    return answer(201, made, { Location = made.url })
  end },
  { 'PATCH', '^/repos/acme/shop/issues/comments/(%d+)$', function(self, request, id)
    for _, c in ipairs(self.comments) do
      if c.id == tonumber(id) then
        c.body = json.decode(request.body).body
        return answer(200, c)
      end
    end
    return refuse(404, 'Not Found')
  end },
  { 'DELETE', '^/repos/acme/shop/issues/comments/(%d+)$', function(self, _, id)
    for i, c in ipairs(self.comments) do
      if c.id == tonumber(id) then
        table.remove(self.comments, i)
        return { status = 204 }
      end
    end
    return refuse(404, 'Not Found')
  end },
  { 'POST', '^/repos/acme/shop/check%-runs$', function(self, request)
    local run = json.decode(request.body)
    self.runs[#self.runs + 1] = run
    return answer(201, { id = #self.runs, name = run.name })
  end },
  { 'GET', '^/repos/acme/shop/actions/workflows/([%w_.-]+)$', function(self, _, name)
    local state = self.workflows[name]
    if not state then return refuse(404, 'Not Found') end
    return answer(200, { id = 9, name = name, path = '.github/workflows/' .. name,
      state = state })
  end },
  { 'POST', '^/repos/acme/shop/actions/workflows/([%w_.-]+)/dispatches$',
    function(self, request, name)
    if not self.workflows[name] then return refuse(404, 'Not Found') end
    self.started[#self.started + 1] = { name, json.decode(request.body) }
    if self.loses_answers then return { drop = true } end
    return { status = 204 }
  end },
}

local function limited(self)
  if self.limits == 0 then return nil end
  self.limits = self.limits - 1
  if self.limit_kind == 'primary' then
    return refuse(403, 'API rate limit exceeded',
      { ['x-ratelimit-remaining'] = '0', ['x-ratelimit-reset'] = tostring(os.time()) })
  end
  return refuse(429, 'You have exceeded a secondary rate limit', { ['Retry-After'] = '0' })
end

local function handle(self, request)
  self.requests[#self.requests + 1] = request.method .. ' ' .. request.path
  if (request.headers['user-agent'] or '') == '' then
    return refuse(403, 'Request forbidden by administrative rules')
  end
  if request.headers.authorization ~= 'Bearer ' .. self.token then
    return refuse(401, 'Bad credentials')
  end
  local refused = limited(self)
  if refused then return refused end
  for _, route in ipairs(ROUTES) do
    local found = request.method == route[1] and table.pack(request.path:match(route[2]))
    if found and found[1] then return route[3](self, request, found[1]) end
  end
  return refuse(404, 'Not Found')
end

--- Starts one. Fields that a test may set: login, is_workflow (a token of a workflow: it may not
--- ask who it is), is_fork (may not comment), limits (so many requests are refused first),
--- limit_kind, loses_answers, workflows (state by file).
function github.start()
  local self = setmetatable({ token = 'token-of-the-tests', login = 'perigee-bot', comments = {},
    runs = {}, workflows = {}, started = {}, requests = {}, last = 100, limits = 0 }, Github)
  self.server = assert(http.serve({}, function(request) return handle(self, request) end))
  self.port = self.server:port()
  self.url = 'http://127.0.0.1:' .. self.port
  return self
end

function Github:stop() self.server:close() end

return github
