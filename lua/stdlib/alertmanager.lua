--- Alertmanager's API v2: alerts sent to it, silences read and made.
local check = require 'check'
local excerpt = require 'excerpt'
local http = require 'http'
local json = require 'perigee.json'
local log = require 'log'
local regex = require 'perigee.regex'

local alertmanager = {}

alertmanager.OPTIONS = {
  url = check.required { test = http.check_base },
  bearer_token_file = check.string(),
  tls = http.TLS,
  timeout = check.duration('10s', { min = 0.1 }),
}

local PRIME, OFFSET = 1099511628211, 0xcbf29ce484222325 -- of FNV-1a in 64 bits

--- What Alertmanager calls a set of labels.
---@param labels table<string, string>
---@return string  16 hexadecimal digits
function alertmanager.fingerprint(labels)
  local h, byte = OFFSET, string.byte
  for _, name in ipairs(check.names(labels)) do
    local all = name .. '\xff' .. labels[name] .. '\xff'
    for i = 1, #all do h = (h ~ byte(all, i)) * PRIME end
  end
  return ('%016x'):format(h)
end

---@class alertmanager.Alert
---@field labels table<string, string>
---@field annotations? table<string, string>
---@field startsAt? string  RFC 3339; when it arrives
---@field endsAt? string    RFC 3339; Alertmanager's resolve_timeout after it was sent last

---@class alertmanager.Silence
---@field id string
---@field state "active"|"pending"|"expired"
---@field matchers { name: string, value: string, isRegex: boolean, isEqual?: boolean }[]
---@field createdBy string, comment string
---@field startsAt string, endsAt string  RFC 3339

local MAX_PATTERN = 65536 -- bytes

--- Whether a text is what a matcher says it should be. What cannot be read matches: whoever asks
--- then does less, not more.
local function holds(m, text)
  if not m.isRegex then return text == m.value end
  local compiled = #m.value <= MAX_PATTERN and regex.compile(m.value)
  return not compiled or compiled:full_match(text) ~= false
end

--- Whether labels are among those that a silence is about.
---@param silence alertmanager.Silence
---@param labels table<string, string>
function alertmanager.is_about(silence, labels)
  for _, m in ipairs(silence.matchers) do
    if holds(m, labels[m.name] or '') == (m.isEqual == false) then return false end
  end
  return true
end

local function is_silence(s)
  if type(s) ~= 'table' or type(s.id) ~= 'string' or type(s.matchers) ~= 'table'
    or type(s.status) ~= 'table' or type(s.endsAt) ~= 'string' then
    return false
  end
  for _, m in ipairs(s.matchers) do
    if type(m) ~= 'table' or type(m.name) ~= 'string' or type(m.value) ~= 'string' then
      return false
    end
  end
  return true
end

local MAX_BODY = 16 << 20

local Client = {}
Client.__index = Client

--- A request below /api/v2; what has no body is read.
---@return any? data
---@return { message: string, status?: integer, transient: boolean }? failure
function Client:call(method, path, body, retries)
  local o = self.options
  local headers = { ['Content-Type'] = body and 'application/json' or nil }
  if o.bearer_token_file then
    local value, message = http.bearer(o.bearer_token_file)
    if not value then return nil, { message = message, transient = false } end
    headers.Authorization = value
  end
  local response, why, code = http.request {
    method = method, url = self.url:gsub('/+$', '') .. '/api/v2/' .. path, headers = headers,
    body = body and json.encode(body), timeout = o.timeout, tls = o.tls, max_body = MAX_BODY,
    target = 'alertmanager', retries = retries, once = retries == 0,
  }
  if not response then return nil, { message = why, code = code, transient = true } end
  if response.status >= 300 then
    local words = excerpt.line(log.redact(response.body), 200)
    return nil, { status = response.status, transient = http.again(response),
      message = ('status %d: %s'):format(response.status, words) }
  end
  if response.body == '' then return true end
  local data = json.decode(response.body)
  if type(data) ~= 'table' then
    return nil, { message = 'the answer is no JSON', transient = false }
  end
  return data
end

--- Sends alerts. The same alert may be sent again: Alertmanager tells it by its labels.
---@param alerts alertmanager.Alert[]
---@return boolean? ok
---@return string? message
function Client:post(alerts)
  local data, failure = self:call('POST', 'alerts', json.array(alerts), 4)
  if not data then return nil, failure.message end
  return true
end

--- All silences that it knows of, the expired ones, too.
---@return alertmanager.Silence[]? silences
---@return { message: string, transient: boolean }? failure
function Client:silences()
  local list, failure = self:call('GET', 'silences', nil, 2)
  if not list then return nil, failure end
  local strange = { message = 'the answer is not as Alertmanager writes it', transient = false }
  if type(list) ~= 'table' then return nil, strange end
  for _, silence in ipairs(list) do
    if not is_silence(silence) then return nil, strange end
    silence.state = silence.status.state
  end
  return list
end

--- The alerts that these labels name, the silenced ones, too.
---@param labels table<string, string>
---@return { labels: table<string, string>, fingerprint: string }[]? alerts
---@return { message: string, transient: boolean }? failure
function Client:alerts(labels)
  local filter = {}
  for i, name in ipairs(check.names(labels)) do
    -- As Go quotes it: what Alertmanager reads a matcher's value as.
    filter[i] = ('%s="%s"'):format(name, labels[name]:gsub('[\\"]', '\\%0'):gsub('\n', '\\n'))
  end
  return self:call('GET', 'alerts?' .. http.form { filter = filter }, nil, 2)
end

--- Makes a silence. Sent once: whether it is there after an uncertain end, silences() says.
---@param silence { matchers: table[], startsAt: string, endsAt: string, createdBy: string,
---       comment: string }
---@return string? id
---@return { message: string, status?: integer, code?: string }? failure
function Client:silence(silence)
  local data, failure = self:call('POST', 'silences', silence, 0)
  if not data then return nil, failure end
  return type(data) == 'table' and data.silenceID or '?'
end

--- Ends a silence now.
---@param id string
---@return boolean? ok
---@return { message: string, status?: integer }? failure
function Client:expire(id)
  local data, failure = self:call('DELETE', 'silence/' .. http.escape(id), nil, 2)
  if not data then return nil, failure end
  return true
end

--- A client from options that have been checked.
function alertmanager.connect(o) return setmetatable({ url = o.url, options = o }, Client) end

--- A client; calls of its methods wait.
---@param options { url: string, bearer_token_file?: string, tls?: http.Tls, timeout?: string }
function alertmanager.client(options)
  return alertmanager.connect(check.options('alertmanager.client', options, alertmanager.OPTIONS))
end

return alertmanager
