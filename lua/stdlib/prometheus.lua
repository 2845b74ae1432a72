--- A client of anything that speaks the Prometheus HTTP API (Prometheus, Thanos, Mimir,
--- VictoriaMetrics). Empty, missing, NaN, partial and failed are told apart all the way up: they
--- are different things, and none of them is zero.
local check = require 'check'
local file = require 'perigee.file'
local http = require 'http'
local json = require 'perigee.json'
local log = require 'log'
local units = require 'units'

local prometheus = {}

local POINTS = 10000 -- of one answer to a range query; a server refuses more than 11,000
local MAX_BODY = 64 << 20

local TLS = check.table_of {
  ca_file = check.string(), cert_file = check.string(), key_file = check.string(),
  server_name = check.string(), insecure_skip_verify = check.boolean(),
}

prometheus.OPTIONS = {
  url = check.required(check.string()),
  headers = check.map_of(check.string(), nil, {}),
  bearer_token_file = check.string(),
  tls = TLS,
  timeout = check.duration '30s',
}

---@class prometheus.Vector  an array of samples (of series, for a matrix)
---@field type string           "vector", "scalar" or "matrix"
---@field partial? boolean      the server knows that something is missing
---@field warnings? string[]
---@class prometheus.Sample
---@field labels table<string, string>
---@field value number
---@field time number
---@class prometheus.Series
---@field labels table<string, string>
---@field ds number[]
---@field y number[]

---@class prometheus.Failure
---@field message string
---@field kind string  "bad_data", "execution", "timeout", "unavailable", "connection",
---       "not_prometheus", "too_large", …


--- The number that a sample's text stands for; nil where it is none.
local function number(text)
  if text == 'NaN' then return 0 / 0 end
  if text == '+Inf' or text == 'Inf' then return math.huge end
  if text == '-Inf' then return -math.huge end
  return tonumber(text)
end
prometheus.number = number

--- A value as the API writes it.
---@param x number
---@return string
function prometheus.number_text(x)
  if x ~= x then return 'NaN' end
  if x == math.huge then return '+Inf' end
  if x == -math.huge then return '-Inf' end
  return json.encode(x)
end

local Failure = { __tostring = function(f) return f.message end }
local function failure(kind, message)
  return nil, setmetatable({ kind = kind, message = message }, Failure)
end

--- The data of an answer in the API's envelope, or what is wrong with it.
local function open_envelope(response)
  local kind = response.headers['content-type'] or ''
  if not kind:find('json', 1, true) then
    return failure('not_prometheus',
      ('status %d and %s instead of JSON: is this a Prometheus API?'):format(
      response.status, kind == '' and 'no content type' or kind))
  end
  local answer, message = json.decode(response.body)
  if type(answer) ~= 'table' then
    return failure('not_prometheus', message or 'the answer is JSON, but no object')
  end
  if answer.status ~= 'success' then
    return failure(tostring(answer.errorType or 'internal'),
      tostring(answer.error or 'status ' .. response.status))
  end
  return answer
end

local function warnings_of(answer, into)
  local data = answer.data
  local partial = answer.isPartial == true or type(data) == 'table' and data.isPartial == true
  for _, w in ipairs(type(answer.warnings) == 'table' and answer.warnings or {}) do
    into.warnings = into.warnings or {}
    into.warnings[#into.warnings + 1] = tostring(w)
    partial = true
  end
  if partial then into.partial = true end
end

local function sample(item)
  local point = item.value
  -- A native histogram has no single value; NaN says so.
  return { labels = item.metric or {}, time = point and point[1] or 0,
    value = point and number(point[2]) or 0 / 0 }
end

local function points(item)
  local s = { labels = item.metric or {}, ds = {}, y = {} }
  for i, point in ipairs(item.values or {}) do s.ds[i], s.y[i] = point[1], number(point[2]) end
  return s
end

--- The result of an instant query: samples of a vector or a scalar, series of a matrix.
local function result(answer)
  local data, out = answer.data, {}
  if type(data) ~= 'table' or type(data.result) ~= 'table' then
    return failure('not_prometheus', 'no result in the answer')
  end
  warnings_of(answer, out)
  out.type = data.resultType
  if out.type == 'scalar' then
    out[1] = sample { value = data.result }
  elseif out.type == 'vector' or out.type == 'matrix' then
    local read = out.type == 'vector' and sample or points
    for i, item in ipairs(data.result) do out[i] = read(item) end
  else
    return failure('bad_data',
      ('the query gives a %s, no numbers'):format(tostring(data.resultType)))
  end
  return out
end

local function label_key(labels)
  local parts = {}
  for _, name in ipairs(check.names(labels)) do parts[#parts + 1] = name .. '\1' .. labels[name] end
  return table.concat(parts, '\2')
end

--- Adds one window's series to those of the windows before it.
local function append(series, by_key, answer)
  for _, item in ipairs(answer.data.result) do
    local key = label_key(item.metric or {})
    local s = by_key[key]
    if not s then
      s = { labels = item.metric or {}, ds = {}, y = {} }
      by_key[key], series[#series + 1] = s, s
    end
    local n = #s.ds
    for i, point in ipairs(item.values or {}) do
      s.ds[n + i], s.y[n + i] = point[1], number(point[2])
    end
  end
end

--- How the client says a time: milliseconds, and no more digits than needed.
local function time_text(t) return ('%.3f'):format(t) end

--- A client from options that have been checked.
function prometheus.connect(o)
  local base = o.url:gsub('/+$', '')
  local client = { url = o.url }
  if o.tls and o.tls.insecure_skip_verify then
    log.warn('the certificate of the source is not verified', { url = base })
  end

  local function headers()
    local out = { ['Content-Type'] = 'application/x-www-form-urlencoded' }
    for name, value in pairs(o.headers) do out[name] = value end
    if o.bearer_token_file then -- read anew each time: such files are replaced while we run
      local token, message = file.read(o.bearer_token_file, 65536)
      if not token then return nil, message end
      token = token:match('^%s*(.-)%s*$')
      log.secret(token)
      out.Authorization = 'Bearer ' .. token
    end
    return out
  end

  --- POST, because a query can be longer than a URL may be; it changes nothing, so it may be
  --- repeated.
  local function ask(path, fields, method)
    local head, message = headers()
    if not head then return failure('unavailable', message) end
    local body = http.form(fields)
    local response, why, code = http.request {
      method = method or 'POST', url = base .. '/api/v1/' .. path
        .. (method == 'GET' and body ~= '' and '?' .. body or ''),
      headers = head, body = method ~= 'GET' and body or nil, timeout = o.timeout,
      connect_timeout = math.min(5, o.timeout), max_body = MAX_BODY, max_redirects = method == 'GET'
      and 3 or 0,
      tls = o.tls, target = 'prometheus', retries = 2,
    }
    if not response then return failure(code == 'io' and 'connection' or code, why) end
    return open_envelope(response)
  end

  --- The value of an expression at one time.
  ---@param expr string
  ---@param time? number  Unix seconds; now
  ---@return prometheus.Vector? vector
  ---@return prometheus.Failure? failure
  function client.query(_, expr, time)
    local answer, why = ask('query', { query = expr, time = time and time_text(time) or nil,
      timeout = units.duration_text(o.timeout) })
    if not answer then return nil, why end
    return result(answer)
  end

  --- The values of an expression from start to stop, both included, in steps. Long ranges are asked
  --- for in pieces, on one grid.
  ---@param expr string
  ---@return prometheus.Series[]? series  as the server sorts them; `.partial`, `.warnings` too

  ---@return prometheus.Failure? failure
  function client.query_range(_, expr, start, stop, step)
    if step ~= step or step <= 0 or stop < start then
      error('query_range: step must be above 0 and stop not before start', 2)
    end
    local series, by_key = {}, {}
    local from = start
    repeat
      local to = math.min(stop, from + (POINTS - 1) * step)
      local answer,
        why = ask('query_range', { query = expr, start = time_text(from), ['end'] = time_text(to),
        step = ('%.3f'):format(step), timeout = units.duration_text(o.timeout) })
      if not answer then return nil, why end
      if type(answer.data) ~= 'table' or answer.data.resultType ~= 'matrix' then
        return failure('bad_data', 'a range query must give a matrix')
      end
      warnings_of(answer, series)
      append(series, by_key, answer)
      from = to + step
    until from > stop
    return series
  end

  --- Any other path below /api/v1, by GET: its data.
  function client.get(_, path, fields)
    local answer, why = ask(path, fields or {}, 'GET')
    if not answer then return nil, why end
    return answer.data
  end

  return client
end

--- A client; calls of its methods wait.
---@param options { url: string, headers?: table, bearer_token_file?: string, tls?: http.Tls,
---   timeout?: string }
function prometheus.client(options)
  return prometheus.connect(check.options('prometheus.client', options, prometheus.OPTIONS))
end

prometheus.label_key = label_key
return prometheus
