--- Slack's Web API: calls with a token from a file, told apart by what may be repeated. That HTTP
--- says 200 means nothing here; the answer's `ok` does.
local check = require 'check'
local clock = require 'perigee.clock'
local excerpt = require 'excerpt'
local http = require 'http'
local json = require 'perigee.json'
local log = require 'log'
local task = require 'perigee.task'

local slack = {}

local function id(pattern, what)
  return { test = function(v)
    if type(v) ~= 'string' or not v:find(pattern) then return check.expected(what, v) end
  end }
end

-- Names of channels have letters of any script.
local CHANNEL = '^[#%w\x80-\xFF][%w\x80-\xFF%-_.]*$'

--- What a client needs.
slack.OPTIONS = {
  api_url = { default = 'https://slack.com/api', test = http.check_api },
  bot_token_file = check.required(check.string()),
  app_token_file = check.string(),
  tls = check.table_of { ca_file = check.string() },
  timeout = check.duration('10s', { min = 0.1 }),
}

--- The section `slack` of perigee.yaml: the client's options, and what approvals need.
slack.SECTION = {
  signing_secret_file = check.string(),
  channel = check.required(id(CHANNEL, 'a channel such as "#incident-response"')),
  notify_channels = check.list_of(id(CHANNEL, 'a channel such as "#ops"'), {}),
  approvers = check.list_of(id('^[UW]%w+$', 'a user\'s id such as U0123ABCD'), {}),
  user_groups = check.list_of(id('^S%w+$', 'a user group\'s id such as S0123ABCD'), {}),
  listen = { test = http.check_listen },
  socket_mode = check.table_of({
    connections = check.number(1, { min = 1, max = 2, integer = true }),
  }, { connections = 1 }),
}
for name, rule in pairs(slack.OPTIONS) do slack.SECTION[name] = rule end

-- -- what an answer means -------------------------------------------------------------------------

---@class slack.Failure
---@field error string         Slack's code, or "timeout", "connection", … where there is no answer
---@field message string       in words
---@field retry_after? number  seconds, where Slack says so
---@field transient boolean    the same call may succeed later
---@field uncertain boolean    it may have been done all the same: look before it is repeated

local TRANSIENT = { internal_error = true, fatal_error = true, service_unavailable = true,
  request_timeout = true, ratelimited = true }

-- Whatever else is called may have been done though its answer was lost: a message is there twice.
local REPEATABLE = { ['apps.connections.open'] = true, ['auth.test'] = true,
  ['chat.update'] = true, ['conversations.history'] = true, ['conversations.replies'] = true,
  ['usergroups.users.list'] = true, ['users.info'] = true }

-- It was not done: nothing was sent, or it was refused unseen.
local NEVER_SENT = { connection = true, dns = true, tls = true, url = true }

local function lost(message, code)
  return { error = code, message = message, transient = http.again(nil, code),
    uncertain = not NEVER_SENT[code] }
end

local function one_line(text) return excerpt.line(text, 300) end

local function words(method, answer)
  local parts = { ('%s: %s'):format(method, one_line(answer.error)) }
  if type(answer.needed) == 'string' then
    parts[#parts + 1] = 'needs ' .. one_line(answer.needed)
  end
  local about = answer.response_metadata
  for _, line in ipairs(type(about) == 'table' and type(about.messages) == 'table'
    and about.messages or {}) do
    parts[#parts + 1] = one_line(line)
  end
  return table.concat(parts, '; ')
end

--- The answer as a table, or why it is none.
---@return table? answer
---@return slack.Failure? failure
local function read(method, response)
  local status = response.status
  if status == 429 then
    local after = tonumber((response.headers['retry-after'] or ''):match '^%d+$') or 1
    return nil, { error = 'ratelimited', message = method .. ': too many calls',
      retry_after = after, transient = true, uncertain = false }
  end
  local answer = json.decode(response.body)
  if type(answer) ~= 'table' or type(answer.ok) ~= 'boolean' then
    return nil, { error = 'http_' .. status, transient = http.again(response),
      message = ('%s: status %d instead of an answer'):format(method, status),
      uncertain = status >= 500 }
  end
  if answer.ok then return answer end
  local code = tostring(answer.error)
  local transient = TRANSIENT[code] == true
  return nil, { error = code, message = words(method, answer), transient = transient,
    uncertain = transient and code ~= 'ratelimited' }
end

-- -- calls ----------------------------------------------------------------------------------------

local ATTEMPTS = 4
local MAX_WAIT = 30 -- seconds that Slack's wishes are waited out; longer ones are for the caller

local Client = {}
Client.__index = Client

function Client:token(method)
  local o = self.options
  if method ~= 'apps.connections.open' then return http.bearer(o.bot_token_file) end
  if not o.app_token_file then return nil, 'app_token_file is missing' end
  return http.bearer(o.app_token_file)
end

--- One attempt.
function Client:send(method, body)
  local o = self.options
  local value, message = self:token(method)
  if not value then
    return nil, { error = 'no_token', message = message, transient = false, uncertain = false }
  end
  local response, why, code = http.request {
    method = 'POST', url = o.api_url .. '/' .. method, body = body, timeout = o.timeout,
    headers = { Authorization = value, ['Content-Type'] = 'application/json; charset=utf-8' },
    tls = o.tls, target = 'slack', max_body = 4 << 20, once = not REPEATABLE[method],
  }
  if not response then return nil, lost(why, code) end
  return read(method, response)
end

--- Seconds until a method may be called again: its limit is its own, the others go on.
function Client:barred(method)
  return math.max(0, (self.barred_until[method] or 0) - clock.monotonic())
end

local function may_repeat(method, failure)
  return failure.transient and (REPEATABLE[method] or not failure.uncertain)
end

--- Calls a method and waits for what comes of it. Repeats it where that cannot do it twice.
---@param method string  "chat.postMessage"
---@param args? table    empty lists as json.array()
---@return table? answer
---@return slack.Failure? failure
function Client:call(method, args)
  local body = json.encode(args or {})
  local answer, failure
  for attempt = 1, ATTEMPTS do
    local barred = self:barred(method)
    if barred > MAX_WAIT then
      return nil, { error = 'ratelimited', message = method .. ': too many calls',
        retry_after = math.ceil(barred), transient = true, uncertain = false }
    end
    if barred > 0 then task.sleep(barred) end
    answer, failure = self:send(method, body)
    if answer then return answer end
    if failure.retry_after then
      self.barred_until[method] = clock.monotonic() + failure.retry_after
    end
    if attempt == ATTEMPTS or not may_repeat(method, failure) then break end
    log.debug('Slack is called again', { method = method, attempt = attempt,
      reason = failure.error })
    task.sleep(http.backoff(attempt))
  end
  return nil, failure
end

--- A client from options that have been checked. Tokens are read anew for each call.
---@return table client  :call(method, args)
function slack.connect(o)
  return setmetatable({ options = o, barred_until = {} }, Client)
end

--- A client; its calls wait.
---@param options { bot_token_file: string, api_url?: string, app_token_file?: string,
---   tls?: { ca_file?: string }, timeout?: string }
function slack.client(options)
  return slack.connect(check.options('slack.client', options, slack.OPTIONS))
end

return slack
