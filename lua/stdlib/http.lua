--- HTTP for scripts and the engine: requests that wait, with limits and bounded retries, and a
--- server.
local check = require 'check'
local client = require 'perigee.http_client'
local log = require 'log'
local server = require 'perigee.http_server'
local task = require 'perigee.task'
local url = require 'perigee.url'

local http = {}

---@class http.Tls  names as in Prometheus' tls_config
---@field ca_file? string, cert_file? string, key_file? string, server_name? string
---@field insecure_skip_verify? boolean
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

---@field target? string           who is asked, for the metrics: a bounded name
---@field retries? integer         how often it is tried again; 0. Only for what may happen twice
---@class http.Response
---@field status integer
---@field headers table<string, string>  names in lower case
---@field body string
---@field seconds number

local BASE, CAP, MAX_WAIT = 0.25, 30, 60

--- Full jitter: a random share of a wait that doubles, so that many clients do not come back at
--- once.
local function backoff(attempt) return math.random() * math.min(CAP, BASE * 2 ^ (attempt - 1)) end

local AGAIN = { [408] = true, [429] = true, [500] = true, [502] = true, [503] = true, [504] = true }
local AGAIN_CODE = { timeout = true, connection = true, dns = true, reset = true, io = true }

--- Seconds that a Retry-After header asks for, or nil. A date counts as the longest wait.
local function retry_after(response)
  local value = response and response.headers['retry-after']
  if not value then return nil end
  return math.min(tonumber(value) or MAX_WAIT, MAX_WAIT)
end

--- Sends a request and waits for its answer. Any status is an answer.
---@param request http.Request
---@return http.Response? response
---@return string? message
---@return string? code  "timeout", "connection", "dns", "tls", "reset", "too_large", "refused",
---       "url" or "io"

function http.request(request)
  for attempt = 1, (request.retries or 0) + 1 do
    local response, message, code = client.request(request)
    local again = attempt <= (request.retries or 0)
      and (response and AGAIN[response.status] or not response and AGAIN_CODE[code])
    if not again then return response, message, code end
    local wait = math.max(backoff(attempt), retry_after(response) or 0)
    log.debug('request is tried again', { target = request.target or 'other', attempt = attempt,
      wait = wait,
      reason = message or response.status })
    task.sleep(wait)
  end
end

---@param address string  a URL
---@param options? table  as http.request's
function http.get(address, options)
  local request = { url = address, retries = 2 }
  for k, v in pairs(options or {}) do request[k] = v end
  return http.request(request)
end

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

--- The fields of a query or a form; of a name that is there more than once the first counts.
---@param text string
---@return table<string, string>
function http.parse_form(text)
  local fields = {}
  for part in text:gmatch('[^&]+') do
    local name, value = part:match('^([^=]*)=?(.*)$')
    name = url.unescape(name, true)
    if fields[name] == nil then fields[name] = url.unescape(value, true) end
  end
  return fields
end

http.parse_url = url.parse
http.escape = url.escape

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

--- Serves until it is closed; each request runs the handler in a task of its own.
---@param options { host?: string, port?: integer }
---@param handler fun(request: http.Incoming): { status?: integer, headers?: table, body?: string }

---@return { port: fun(self): integer, close: fun(self) }? server
---@return string? message
function http.serve(options, handler)
  return server.serve(check.options('http.serve', options, SERVE), handler)
end

return http
