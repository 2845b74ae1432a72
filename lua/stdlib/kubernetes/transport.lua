--- One request to the API server: who we are put to it, its answer told apart from its errors, and
--- repeated where that can do no harm. What reads may be asked again; what writes only if it surely
--- never arrived, or was turned away at the door (429).
local async = require 'async'
local credentials = require 'kubernetes.credentials'
local excerpt = require 'excerpt'
local http = require 'http'
local json = require 'perigee.json'
local log = require 'log'

local transport = {}

local MAX_BODY = 16 << 20 -- of a page of a list; nothing else is near as large
local RETRIES = 4
local AT_ONCE = 8         -- requests under way, watches apart
local MAX_MESSAGE = 1024

---@class kubernetes.Failure
---@field kind string       "status": the server said so; else why there is no answer: "timeout",
---       "connection", "dns", "tls", "reset", "too_large", "io"; "not_kubernetes"; or why nothing
---       was sent: "invalid", "credentials", "halted"
---@field message string    one line
---@field status? integer   of HTTP
---@field reason? string    the server's word, "NotFound", "Conflict", …
---@field retry_after? number  seconds the server wants to be left alone for
---@field causes? { reason?: string, field?: string, message?: string }[]
---@field unsent? boolean   nothing of the request can have arrived

--- Nothing was sent: for what is wrong before that.
function transport.invalid(message) return nil, { kind = 'invalid', message = message,
  unsent = true } end

-- -- answers --------------------------------------------------------------------------------------

--- One line of a text from outside, without secrets and not too long.
local function line(text)
  return excerpt.line(log.redact(text:sub(1, 4 * MAX_MESSAGE)), MAX_MESSAGE)
end

local REASONS = { [400] = 'BadRequest', [401] = 'Unauthorized', [403] = 'Forbidden',
  [404] = 'NotFound', [405] = 'MethodNotAllowed', [409] = 'Conflict', [410] = 'Expired',
  [413] = 'RequestEntityTooLarge', [415] = 'UnsupportedMediaType', [422] = 'Invalid',
  [429] = 'TooManyRequests', [500] = 'InternalError', [503] = 'ServiceUnavailable',
  [504] = 'Timeout' }

local function text(v) return type(v) == 'string' and v ~= '' and line(v) or nil end

local function causes_of(details)
  local out = {}
  for i, cause in ipairs(type(details.causes) == 'table' and details.causes or {}) do
    if i > 16 then break end
    if type(cause) == 'table' then
      out[#out + 1] = { reason = text(cause.reason), field = text(cause.field),
        message = text(cause.message) }
    end
  end
  return out[1] and out or nil
end

--- What a Status object says, as a watch has it in its ERROR lines too.
---@param status table
---@param code? integer  where the object has none
---@return kubernetes.Failure
function transport.failure_of(status, code)
  local details = type(status.details) == 'table' and status.details or {}
  code = math.tointeger(status.code) or code
  local seconds = tonumber(details.retryAfterSeconds)
  return { kind = 'status', status = code, reason = text(status.reason) or REASONS[code],
    message = text(status.message) or ('the server answered %s'):format(code or 'an error'),
    retry_after = seconds and seconds > 0 and seconds or nil, causes = causes_of(details) }
end

--- The failure that an answer is.
---@param response http.Response
---@return kubernetes.Failure
function transport.refusal(response)
  local body = json.decode(response.body)
  local status = type(body) == 'table' and body.kind == 'Status' and body or {}
  local failure = transport.failure_of(status, response.status)
  failure.status = response.status
  if not body then
    local words = text(response.body:sub(1, 200))
    failure.message = ('the server answered %d%s'):format(response.status,
      words and ': ' .. words or '')
  end
  local seconds = http.retry_after(response)
  if seconds > 0 then failure.retry_after = seconds end
  return failure
end

local UNSENT = { connection = true, dns = true, tls = true, url = true, halted = true }

--- The failure where there is no answer.
function transport.no_answer(message, code)
  return { kind = code, message = line(message), unsent = UNSENT[code] }
end

local function decode(response)
  if response.status >= 300 then return nil, transport.refusal(response) end
  local value = json.decode(response.body)
  if type(value) == 'table' then return value end
  return nil, { kind = 'not_kubernetes', status = response.status,
    message = ('the answer, of status %d, is no JSON object'):format(response.status) }
end

-- -- what may be repeated -------------------------------------------------------------------------

local function not_arrived(code) return code == 'connection' or code == 'dns' end

--- A budget's 429 is no matter of a moment: whoever evicts decides.
local function is_budget(response)
  for _, cause in ipairs(transport.refusal(response).causes or {}) do
    if cause.reason == 'DisruptionBudget' then return true end
  end
  return false
end

--- What took too long would again, and make it worse.
local function again_read(response, code)
  if response then return http.again(response) end
  return not_arrived(code) or code == 'reset'
end

local function again_write(response, code)
  if response then return response.status == 429 and not is_budget(response) end
  return not_arrived(code)
end

-- -- requests -------------------------------------------------------------------------------------

---@class kubernetes.Transport
---@field cluster kubernetes.Cluster
---@field credentials kubernetes.Credentials
local Transport = {}
Transport.__index = Transport

---@param cluster kubernetes.Cluster
---@return kubernetes.Transport
function transport.new(cluster)
  if cluster.insecure_skip_verify then
    log.warn('the certificate of the Kubernetes API server is not verified',
      { server = cluster.server })
  end
  return setmetatable({ cluster = cluster, credentials = credentials.of(cluster),
    gate = async.gate(AT_ONCE) }, Transport)
end

--- The same, whose writes can be stopped until they go out: they may wait for others, for who we
--- are, or because the server wants to be left alone.
---@param halted fun(): string?  why nothing more may be changed
---@return kubernetes.Transport
function Transport:stoppable(halted)
  return setmetatable({ cluster = self.cluster, credentials = self.credentials, gate = self.gate,
    halted = halted }, Transport)
end

---@class kubernetes.Request
---@field query? table           of http.form()
---@field body? string|table     a table is sent as JSON
---@field content_type? string   "application/json"
---@field timeout? number        seconds

--- The request as module http wants it, or nil and why there are no credentials.
function Transport:prepare(method, path, o)
  local who, message = self.credentials:get()
  if not who then
    return nil, { kind = 'credentials', unsent = true, message = line(message) }
  end
  local query = o.query and http.form(o.query) or ''
  local body = o.body
  if type(body) == 'table' then body = json.encode(body) end
  local timeout = o.timeout or self.cluster.timeout
  return { method = method, url = self.cluster.server .. path .. (query ~= '' and '?' or '')
    .. query, tls = who.tls, proxy = self.cluster.proxy, body = body, target = 'kubernetes',
    timeout = timeout, connect_timeout = math.min(5, timeout), max_body = MAX_BODY,
    once = method ~= 'GET',
    headers = { Accept = 'application/json', Authorization = who.authorization,
      ['Content-Type'] = body and (o.content_type or 'application/json') or nil } }
end

--- Sends a request; after a 401 once more, with credentials that are read anew.
---@param method string
---@param path string
---@param o? kubernetes.Request
---@return table? object
---@return kubernetes.Failure? failure
function Transport:send(method, path, o)
  o = o or {}
  local reads = method == 'GET'
  local response, message, code
  for attempt = 1, 2 do
    local request, failure = self:prepare(method, path, o)
    if not request then return nil, failure end
    request.retries, request.again = RETRIES, reads and again_read or again_write
    if not reads and not (o.query and o.query.dryRun) then request.halted = self.halted end
    response, message, code = self.gate:run(http.request, request)
    if not response then return nil, transport.no_answer(message, code) end
    if response.status ~= 401 or attempt == 2 then break end
    self.credentials:renew()
  end
  return decode(response)
end

return transport
