--- GitHub's REST API, as far as it is needed: requests with limits that are waited for, lists page
--- by page, and refusals told apart.
local check = require 'check'
local clock = require 'perigee.clock'
local excerpt = require 'excerpt'
local http = require 'http'
local json = require 'perigee.json'
local log = require 'log'
local task = require 'perigee.task'

local github = {}

local PAGES <const> = 100        -- of a list, of a hundred items each
local WAIT_AT_MOST <const> = 60  -- seconds for a limit to pass
local UNSAID <const> = 60        -- seconds of a limit that does not say how long

github.OPTIONS = {
  api_url = { default = 'https://api.github.com', test = http.check_api },
  token_file = check.string(),
  tls = http.TLS,
  timeout = check.duration('20s', { min = 0.1 }),
}

---@class github.Failure
---@field status? integer  none where there was no answer
---@field message string
---@field forbidden boolean  the token may not do this: asking again is of no use
---@field transient boolean
---@field uncertain boolean  it may have been done all the same

--- Whether a path can be put together from these names: nothing of them leads elsewhere.
---@param v any
function github.check_repository(v)
  if type(v) ~= 'string' or not v:find '^[%w_.-]+/[%w_.-]+$' or v:find('..', 1, true) then
    return check.expected('a repository such as "owner/name"', v)
  end
end

--- Seconds until a limit has passed that an answer tells of; nil where it tells of none.
local function limited(response)
  if response.status ~= 403 and response.status ~= 429 then return nil end
  if response.headers['retry-after'] then return http.retry_after(response) end
  if response.headers['x-ratelimit-remaining'] == '0' then
    return math.max(1, (tonumber(response.headers['x-ratelimit-reset']) or 0) - clock.now())
  end
  if response.status == 429 or response.body:sub(1, 1000):lower():find('rate limit', 1, true) then
    return UNSAID
  end
end

local function failure_of(response)
  local body = json.decode(response.body)
  if type(body) ~= 'table' then body = { message = response.body:sub(1, 200) } end
  local words = body.message
  for _, e in ipairs(type(body.errors) == 'table' and body.errors or {}) do
    if type(e) == 'table' then
      words = ('%s; %s %s'):format(words, e.field or e.resource or '', e.message or e.code or '')
    end
  end
  local wait = limited(response)
  return { status = response.status, transient = wait ~= nil or response.status >= 500,
    forbidden = not wait and response.status == 403,
    uncertain = response.status >= 500,
    message = ('%s (status %d)'):format(excerpt.line(words, 500), response.status) }
end

local Client = {}
Client.__index = Client

--- One request; what only reads is tried again, what changes is not, except where a limit has kept
--- it from being done.
---@param method string
---@param path string    "/repos/owner/name/…"
---@param o? { query?: table, body?: table }
---@return any? data     true where the answer is empty
---@return github.Failure? failure
---@return table? headers
function Client:request(method, path, o)
  o = o or {}
  local headers = { Accept = 'application/vnd.github+json',
    ['X-GitHub-Api-Version'] = '2022-11-28' }
  local body = o.body and json.encode(o.body)
  if body then headers['Content-Type'] = 'application/json' end
  local token, why = self.authorization()
  if why then return nil, { message = why } end
  headers.Authorization = token
  local reads = method == 'GET'
  for attempt = 1, 3 do
    local response, message, code = http.request { method = method,
      url = self.url .. path .. (o.query and '?' .. http.form(o.query) or ''), headers = headers,
      body = body, timeout = self.timeout, tls = self.tls, target = 'github',
      retries = reads and 3 or 0, max_body = 16 << 20, max_redirects = reads and 3 or 0,
      once = not reads }
    if not response then
      return nil, { message = message, transient = true, forbidden = false,
        uncertain = not (code == 'connection' or code == 'dns' or code == 'tls') }
    end
    local wait = limited(response)
    if response.status < 300 then
      local data = response.body == '' or json.decode(response.body)
      if data ~= nil then return data, nil, response.headers end
      return nil, { status = response.status, transient = false, forbidden = false,
        uncertain = true, message = ('what answers at %s is not GitHub: no JSON'):format(self.url) }
    elseif not wait or wait > WAIT_AT_MOST or attempt == 3 then
      return nil, failure_of(response)
    end
    log.info('GitHub\'s limit is waited for', { seconds = wait })
    task.sleep(wait)
  end
end

--- All items of a list.
---@param path string
---@return table[]?
---@return github.Failure?
function Client:list(path)
  local out = {}
  for page = 1, PAGES do
    local items, failure, headers = self:request('GET', path,
      { query = { per_page = 100, page = page } })
    if not items then return nil, failure end
    if type(items) ~= 'table' then return nil, { message = 'the answer is no list' } end
    for _, item in ipairs(items) do out[#out + 1] = item end
    if not (headers.link or ''):find 'rel="next"' then return out end
  end
  return nil, { message = ('%s: more than %d items'):format(path, PAGES * 100) }
end

--- Starts a workflow that has the trigger workflow_dispatch.
---@param repository string
---@param workflow string  its file's name or number
---@param ref string
---@param inputs? table<string, string>
---@return boolean?
---@return github.Failure?
function Client:dispatch(repository, workflow, ref, inputs)
  return self:request('POST', ('/repos/%s/actions/workflows/%s/dispatches'):format(repository,
    workflow), { body = { ref = ref, inputs = inputs } })
end

--- A client from options that have been checked.
---@param o table
function github.connect(o)
  local function authorization()
    if o.token then return 'Bearer ' .. o.token end
    if o.token_file then return http.bearer(o.token_file) end
  end
  return setmetatable({ url = o.api_url, timeout = o.timeout, tls = o.tls,
    authorization = authorization }, Client)
end

--- A client; calls of its methods wait.
---@param options { api_url?: string, token_file?: string, tls?: http.Tls, timeout?: string }
function github.client(options)
  return github.connect(check.options('github.client', options, github.OPTIONS))
end

return github
