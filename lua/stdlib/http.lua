--- HTTP for scripts and the engine: requests that wait, with limits and bounded retries, and a
--- server.
local calendar = require 'perigee.calendar'
local check = require 'check'
local client = require 'perigee.http_client'
local clock = require 'perigee.clock'
local file = require 'perigee.file'
local log = require 'log'
local server = require 'perigee.http_server'
local task = require 'perigee.task'
local url = require 'perigee.url'

local http = {}

-- -- options --------------------------------------------------------------------------------------

--- What is wrong with a URL, or nil.
---@param v any
---@return string? message
function http.check_url(v)
  if type(v) ~= 'string' or not v:find '^%a[%w+.-]*://' then
    return check.expected('a URL such as "http://127.0.0.1:9090"', v)
  end
  local parsed, message = url.parse(v)
  if not parsed then return message end
  if parsed.has_user then return 'a password does not belong into a URL; use a file' end
end

--- What is wrong with a URL that paths are put behind, or nil.
---@param v any
---@return string? message
function http.check_base(v)
  local message = http.check_url(v)
  if message then return message end
  if v:find '[?#]' then return 'expected an address without a query' end
end

local LOOPBACK = { ['::1'] = true, localhost = true }

--- What is wrong with an address to listen on, or nil and its parts.
---@param v any
---@return string? message
---@return { host: string, port: integer, is_loopback: boolean }? parts
function http.check_listen(v)
  local text = tostring(v)
  local host, port = text:match '^(%d+%.%d+%.%d+%.%d+):(%d+)$'
  if not host then host, port = text:match '^%[([%x.:]+)%]:(%d+)$' end
  if not host then host, port = text:match '^(localhost):(%d+)$' end
  if not host or tonumber(port) > 65535 then
    return check.expected('an address and a port such as 127.0.0.1:9747', v)
  end
  return nil, { host = host, port = tonumber(port), is_loopback = http.is_loopback(host) }
end

--- Whether a host is this machine itself.
---@param host string
---@return boolean
function http.is_loopback(host) return LOOPBACK[host] or host:find '^127%.[%d.]+$' ~= nil end

--- What is wrong with the base of an API that is told a token, which never goes over a network in
--- the clear; or nil and the base without a slash at its end.
---@param v any
---@return string? message
---@return string? base
function http.check_api(v)
  local message = http.check_base(v)
  if message then return message end
  local parsed = url.parse(v)
  if parsed.scheme ~= 'https' and not http.is_loopback(parsed.host) then
    return check.expected('an https address; http only on loopback', v)
  end
  return nil, (v:gsub('/+$', ''))
end

--- Names as in Prometheus' tls_config.
http.TLS = check.table_of {
  ca_file = check.string(), cert_file = check.string(), key_file = check.string(),
  server_name = check.string(), insecure_skip_verify = check.boolean(),
}

--- The same, and PEM instead of files: for clients that hold it, not for what operators write.
local REQUEST_TLS = { ca_data = check.string(), cert_data = check.string(),
  key_data = check.string() }
for name, rule in pairs(http.TLS.fields) do REQUEST_TLS[name] = rule end

local function any_text(v)
  if type(v) ~= 'string' then return check.expected('a text', v) end
end

local function method(v)
  if type(v) ~= 'string' or not v:find '^%u+$' then
    return check.expected('a method such as GET or POST, in capitals', v)
  end
end

local function header(v)
  if type(v) ~= 'string' and type(v) ~= 'number' or tostring(v):find '[\r\n\0]' then
    return check.expected('a text of one line', v)
  end
end

--- The rule for a table of headers.
---@param default? table
function http.headers(default)
  return check.map_of({ test = header }, "^[%w!#$%%&'*+.^_`|~-]+$", default)
end

---@class http.Tls
---@field ca_file? string, cert_file? string, key_file? string, server_name? string
---@field insecure_skip_verify? boolean
---@field ca_data? string, cert_data? string, key_data? string  PEM, instead of the files
---@class http.Request
---@field url string
---@field method? string           "GET"
---@field headers? table<string, string>
---@field body? string
---@field timeout? number          seconds for all of it; 30
---@field connect_timeout? number  seconds; 5
---@field max_body? integer        bytes of the answer; 1 MiB
---@field max_redirects? integer   0
---@field tls? http.Tls
---@field proxy? string            its URL; "": none; where it is not said, the environment's
---@field target? string           who is asked, for the metrics: a bounded name
---@field retries? integer         how often it is tried again; 0. Only for what may happen twice
---@field again? fun(response?: http.Response, code?: string): boolean  whether trying again may
---       help; where that is not said, after what http.again() tells
---@field guarded? boolean         no proxy, no link-local address
---@field refuse_port? integer     with guarded: our own, which is not called
---@field once? boolean            not sent again by itself where a kept connection breaks
---@field halted? fun(): string?   asked directly before it goes out, each time: why it must not
local REQUEST = {
  url = check.required { test = any_text },
  method = { default = 'GET', test = method },
  headers = http.headers(),
  body = { test = any_text },
  timeout = check.number(30, { above = 0, max = 86400 }),
  connect_timeout = check.number(5, { above = 0, max = 86400 }),
  max_body = check.number(1 << 20, { min = 0, integer = true }),
  max_redirects = check.number(0, { min = 0, max = 20, integer = true }),
  tls = check.table_of(REQUEST_TLS),
  proxy = { test = any_text },
  target = check.string 'other',
  retries = check.number(0, { min = 0, max = 10, integer = true }),
  again = check.any(),
  guarded = check.boolean(false),
  refuse_port = check.number(0, { min = 0, max = 65535, integer = true }),
  once = check.boolean(false),
  halted = check.any(),
}

-- -- requests -------------------------------------------------------------------------------------

---@class http.Response
---@field status integer
---@field headers table<string, string>  names in lower case
---@field body string
---@field seconds number

local BASE, CAP, MAX_WAIT = 0.25, 30, 60

--- Full jitter: a random share of a wait that doubles, so that many clients do not come back at
--- once.
---@param attempt integer  of those that failed, from 1
---@return number seconds
function http.backoff(attempt) return math.random() * math.min(CAP, BASE * 2 ^ (attempt - 1)) end

local AGAIN = { [408] = true, [429] = true, [500] = true, [502] = true, [503] = true, [504] = true }
local AGAIN_CODE = { timeout = true, connection = true, dns = true, reset = true, io = true }

--- Whether the same request may get another answer soon.
---@param response? http.Response
---@param code? string
function http.again(response, code)
  if response then return AGAIN[response.status] == true end
  return AGAIN_CODE[code] == true
end

local MONTHS = { Jan = 1, Feb = 2, Mar = 3, Apr = 4, May = 5, Jun = 6, Jul = 7, Aug = 8, Sep = 9,
  Oct = 10, Nov = 11, Dec = 12 }

--- Seconds that a Retry-After header asks for: a number of them, or a date. 0 where there is none.
---@param response? http.Response
---@return number
function http.retry_after(response)
  local value = response and response.headers['retry-after'] or ''
  if value:find '^%d+$' then return tonumber(value) end
  local day, month, year, h, m, s =
    value:match '^%a+, (%d%d) (%a%a%a) (%d%d%d%d) (%d%d):(%d%d):(%d%d) GMT$'
  if not MONTHS[month] then return 0 end
  local days = calendar.days_from_civil(tonumber(year), MONTHS[month], tonumber(day))
  return math.max(0, days * 86400 + h * 3600 + m * 60 + s - clock.now())
end

local function send(request)
  for attempt = 1, request.retries + 1 do
    local why = request.halted and request.halted()
    if why then return nil, why, 'halted' end
    local response, message, code = client.request(request)
    local asked = http.retry_after(response)
    if attempt > request.retries or asked > MAX_WAIT
      or not (request.again or http.again)(response, code) then
      return response, message, code
    end
    local wait = math.max(http.backoff(attempt), asked)
    log.debug('request is tried again', { target = request.target, attempt = attempt, wait = wait,
      reason = message or response.status })
    task.sleep(wait)
  end
end

--- Sends a request and waits for its answer. Any status is an answer. Where the other side asks to
--- be left alone for longer than a minute, its answer is not tried to better.
---@param request http.Request
---@return http.Response? response
---@return string? message
---@return string? code  "timeout", "connection", "dns", "tls", "reset", "too_large", "refused",
---       "url", "io" or "halted"
function http.request(request)
  local o = check.options('http.request', request, REQUEST)
  return send(o)
end

---@param address string  a URL
---@param options? table  as http.request's
---@return http.Response? response
---@return string? message
---@return string? code
function http.get(address, options)
  local request = { url = address, retries = 2 }
  for k, v in pairs(options or {}) do request[k] = v end
  local o = check.options('http.get', request, REQUEST)
  return send(o)
end

-- -- answers without an end ----------------------------------------------------------------------

--- Those of a request that a stream has too, and its own.
local STREAM = {
  max_line = check.number(4 << 20, { min = 1, integer = true }),
  idle = check.number(70, { above = 0, max = 86400 }),
}
for _, name in ipairs { 'url', 'method', 'headers', 'body', 'connect_timeout', 'max_body',
  'max_redirects', 'tls', 'proxy', 'target' } do
  STREAM[name] = REQUEST[name]
end

---@class http.Stream
---@field raw userdata
---@field idle number
local Stream = {}
Stream.__index = Stream
Stream.__close = function(self) self:close() end

--- The next line, once it is there. nil at the end: alone where the answer ended in order or was
--- none of success (then :answer() has it), else with what went wrong.
---@return string? line
---@return string? message
---@return string? code  as http.request()'s
function Stream:line()
  while not self.message do
    local line = self.raw:next()
    if line then return line end
    local answer, message, code = self.raw:answer()
    if answer then return nil end
    if answer == nil then return nil, message, code end
    if not self.raw:wait(self.idle) then
      self:close()
      self.message, self.code = ('nothing has come for %g seconds'):format(self.idle), 'timeout'
    end
  end
  return nil, self.message, self.code
end

--- for line in stream:lines() do … end; why it ended tells the next call of :line().
function Stream:lines() return self.line, self end

--- The response, once it has ended; its body is empty where it was read by lines. false before.
---@return http.Response|false? response
---@return string? message
---@return string? code
function Stream:answer() return self.raw:answer() end

--- Ends it, at whatever point. The end of a variable's scope does too, where it is <close>.
function Stream:close() self.raw:close() end

--- Starts a request whose answer is read line by line as it comes, for as long as it comes. There
--- is no limit on the whole, but one on a line (max_line, 4 MiB) and one on the seconds in which
--- nothing comes (idle, 70). It is never tried again.
---@param request table  as http.request's, without timeout
---@return http.Stream? stream
---@return string? message
---@return string? code
function http.stream(request)
  local o = check.options('http.stream', request, STREAM)
  local opened, message, code = client.stream(o)
  if not opened then return nil, message, code end
  return setmetatable({ raw = opened, idle = o.idle }, Stream)
end

--- The token that a file holds, without the line feed that editors add.
---@param path string
---@return string? token
---@return string? message
function http.token(path)
  local token, message = file.read(path, 65536)
  if not token then return nil, message end
  token = token:match '^%s*(.-)%s*$'
  if token == '' then return nil, ('%s is empty'):format(path) end
  if token:find '%c' then return nil, ('%s holds more than one line'):format(path) end
  log.secret(token)
  return token
end

--- The value of the header Authorization by a token that a file holds. The file is read anew each
--- time, for such files are replaced while we run.
---@param path string
---@return string? value
---@return string? message
function http.bearer(path)
  local token, message = http.token(path)
  return token and 'Bearer ' .. token, message
end

-- -- URLs and forms -------------------------------------------------------------------------------

--- Fields as a query or a form: sorted by name, lists repeat their name.
---@param fields table<string, string|number|string[]>
---@return string
function http.form(fields)
  local parts = {}
  for _, name in ipairs(check.names(fields)) do
    local value = fields[name]
    for _, one in ipairs(type(value) == 'table' and value or { value }) do
      parts[#parts + 1] = url.escape(name) .. '=' .. url.escape(tostring(one))
    end
  end
  return table.concat(parts, '&')
end

--- All values of the fields of a query or a form.
---@param text string
---@return table<string, string[]>
function http.parse_lists(text)
  local lists = {}
  for part in text:gmatch('[^&]+') do
    local name, value = part:match('^([^=]*)=?(.*)$')
    name = url.unescape(name, true)
    lists[name] = lists[name] or {}
    table.insert(lists[name], url.unescape(value, true))
  end
  return lists
end

--- The fields of a query or a form; of a name that is there more than once the first counts.
---@param text string
---@return table<string, string>
function http.parse_form(text)
  local fields = {}
  for name, values in pairs(http.parse_lists(text)) do fields[name] = values[1] end
  return fields
end

http.parse_url = url.parse
http.escape = url.escape

-- -- serving --------------------------------------------------------------------------------------

local SERVE = {
  host = check.string '127.0.0.1',
  port = check.number(0, { min = 0, max = 65535, integer = true }),
  max_body = check.number(1 << 20, { min = 0, integer = true }),
  max_connections = check.number(200, { min = 1, integer = true }),
  request_timeout = check.number(10, { above = 0 }),
  answer_timeout = check.number(30, { above = 0 }),
}

---@class http.Incoming
---@field method string, path string, query string, body string, peer string
---@field headers table<string, string>  names in lower case

---@class http.Outgoing
---@field status? integer, headers? table<string, string>, body? string
---@field stream? fun(send: fun(text: string): boolean)  makes the body, in pieces and as long as
---       it takes; send() tells whether the client is still there
---@field drop? boolean  the connection ends without an answer

--- Serves until it is closed; each request runs the handler in a task of its own.
---@param options { host?: string, port?: integer }
---@param handler fun(request: http.Incoming): http.Outgoing
---@return { port: fun(self): integer, close: fun(self) }? server
---@return string? message
function http.serve(options, handler)
  return server.serve(check.options('http.serve', options, SERVE), handler)
end

return http
