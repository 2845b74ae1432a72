--- A client of anything that speaks the Prometheus HTTP API (Prometheus, Thanos, Mimir,
--- VictoriaMetrics). Empty, missing, NaN, partial and failed are told apart all the way up: they
--- are different things, and none of them is zero.
local async = require 'async'
local check = require 'check'
local http = require 'http'
local json = require 'perigee.json'
local log = require 'log'
local units = require 'units'

local prometheus = {}

local POINTS = 10000 -- of one answer to a range query; a server refuses more than 11,000
-- Samples of one answer, where it is known how many series there are: what is decoded in one turn.
local SAMPLES = 20000
local FEWER = 4 -- times fewer points are asked for where an answer was too large
local MAX_BODY = 64 << 20

prometheus.OPTIONS = {
  url = check.required { test = http.check_base },
  headers = http.headers {},
  bearer_token_file = check.string(),
  tls = http.TLS,
  timeout = check.duration('30s', { min = 0.1 }),
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
---@field kind string  "bad_data", "execution", "timeout", "unavailable", "unauthorized",
---       "connection", "not_prometheus", "too_large", …

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
--- The words are often the server's, who may well repeat what it was sent.
local function failure(kind, message)
  return nil, setmetatable({ kind = kind, message = log.redact(message) }, Failure)
end

--- What an answer says that is no JSON: mostly something between us and the API has answered.
local function no_json(response, at)
  local status, kind = response.status, response.headers['content-type'] or ''
  if status >= 300 and status < 400 then
    return failure('not_prometheus', ('%s is elsewhere: %s'):format(at,
      (response.headers.location or 'it does not say where'):sub(1, 200)))
  end
  local words = ('%s answered %d, and %s instead of JSON'):format(at, status,
    kind == '' and 'no content type' or kind:sub(1, 100))
  if status >= 500 or status == 429 then return failure('unavailable', words) end
  return failure('not_prometheus', words .. ': is this a Prometheus API?')
end

local KINDS = { [400] = 'bad_data', [422] = 'execution', [503] = 'unavailable' }

--- The envelope of an answer, or what is wrong with it.
---@param at string  who was asked, for people
local function open_envelope(response, at)
  local status = response.status
  if status == 401 or status == 403 then
    return failure('unauthorized',
      ('%s answered %d: it wants other credentials'):format(at, status))
  end
  if not (response.headers['content-type'] or ''):find('json', 1, true) then
    return no_json(response, at)
  end
  local answer, message = json.decode(response.body)
  if type(answer) ~= 'table' then
    return failure('not_prometheus', ('%s: %s'):format(at,
      message or 'the answer is JSON, but no object'))
  end
  if answer.status == 'success' then return answer end
  if answer.status ~= 'error' then
    return failure('not_prometheus',
      ('%s answered %d, and JSON that is no Prometheus API\'s'):format(at, status))
  end
  local kind, words = answer.errorType, answer.error
  return failure(type(kind) == 'string' and kind or KINDS[status] or 'internal',
    type(words) == 'string' and words or 'status ' .. status)
end

local function warnings_of(answer, into)
  local data = answer.data
  local partial = answer.isPartial == true or type(data) == 'table' and data.isPartial == true
  for _, w in ipairs(type(answer.warnings) == 'table' and answer.warnings or {}) do
    into.warnings = into.warnings or {}
    into.warnings[#into.warnings + 1] = log.redact(tostring(w))
    partial = true
  end
  if partial then into.partial = true end
end

local function time_and_value(point)
  if type(point) ~= 'table' or type(point[1]) ~= 'number' then return end
  return point[1], number(point[2])
end

local function labels_of(item)
  if type(item) ~= 'table' then return end
  if item.metric == nil then return {} end
  if type(item.metric) ~= 'table' then return end
  for name, value in pairs(item.metric) do
    if type(name) ~= 'string' or type(value) ~= 'string' then return end
  end
  return item.metric
end

--- The sample that an item of a vector is; nil where it is none.
local function sample(item)
  local labels = labels_of(item)
  local time, value = time_and_value(labels and item.value)
  if labels and item.histogram then -- a native histogram has no single value; NaN says so
    time, value = time_and_value(item.histogram), 0 / 0
  end
  return time and value and { labels = labels, time = time, value = value }
end

--- The series that an item of a matrix is; nil where it is none. Adds to one that is given.
local function points(item, into)
  local labels = labels_of(item)
  if not labels or item.values ~= nil and type(item.values) ~= 'table' then return end
  local s = into or { labels = labels, ds = {}, y = {} }
  local n = #s.ds
  for i, point in ipairs(item.values or {}) do
    s.ds[n + i], s.y[n + i] = time_and_value(point)
    if not s.y[n + i] then return end
  end
  return s
end

local function malformed(what, i)
  return failure('not_prometheus', ('%s %d of the answer is not as Prometheus writes it'):format(
    what, i))
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
    if not out[1] then return malformed('value', 1) end
  elseif out.type == 'vector' or out.type == 'matrix' then
    local read = out.type == 'vector' and sample or points
    for i, item in ipairs(data.result) do
      out[i] = read(item)
      if not out[i] then return malformed(out.type == 'vector' and 'sample' or 'series', i) end
    end
  else
    return failure('bad_data',
      ('the query gives a %.50s, no numbers'):format(tostring(data.resultType)))
  end
  return out
end

local function label_key(labels)
  local parts = {}
  for _, name in ipairs(check.names(labels)) do parts[#parts + 1] = name .. '\1' .. labels[name] end
  return table.concat(parts, '\2')
end

--- Adds one window's series to those of the windows before it.
local function append(series, by_key, list)
  for i, item in ipairs(list) do
    local labels = labels_of(item)
    local key = labels and label_key(labels)
    local s = points(item, by_key[key])
    if not s then return malformed('series', i) end
    if not by_key[key] then by_key[key], series[#series + 1] = s, s end
  end
  return series
end

--- How the client says a time or a step: milliseconds, as finely as the API goes.
local function time_text(t) return ('%.3f'):format(t) end

local function is_finite(x) return type(x) == 'number' and x - x == 0 end

--- What is worth another attempt at once. What took too long would again, and make it worse.
local function again(response, code)
  if not response then return code == 'connection' or code == 'dns' or code == 'reset' end
  local is_json = (response.headers['content-type'] or ''):find('json', 1, true)
  return response.status == 429 or (response.status == 502 or response.status == 503)
    and not is_json
end

--- Whether a header holds a secret, by its name: X-Scope-OrgID and its like hold none.
local function is_secret(name)
  for _, word in ipairs { 'auth', 'cookie', 'key', 'password', 'secret', 'token' } do
    if name:lower():find(word, 1, true) then return true end
  end
  return false
end

--- A client from options that have been checked.
---@param o table
---@param max_vector? integer  bytes of the answer to an instant query; 64 MiB
function prometheus.connect(o, max_vector)
  local base = o.url:gsub('/+$', '')
  local client = { url = o.url }
  for name, value in pairs(o.headers) do
    if is_secret(name) then log.secret(tostring(value)) end
  end
  if o.tls and o.tls.insecure_skip_verify then
    log.warn('the certificate of the source is not verified', { url = base })
  end

  local function headers()
    local out = { ['Content-Type'] = 'application/x-www-form-urlencoded' }
    for name, value in pairs(o.headers) do out[name] = value end
    local message
    if o.bearer_token_file then out.Authorization, message = http.bearer(o.bearer_token_file) end
    if message then return nil, message end
    return out
  end

  --- POST, because a query can be longer than a URL may be; it changes nothing, so it may be
  --- repeated.
  local function ask(path, fields, method, max_body)
    local head, message = headers()
    if not head then return failure('unavailable', message) end
    local body, at = http.form(fields), base .. '/api/v1/' .. path
    local get = method == 'GET'
    local response, why, code = http.request {
      method = method or 'POST', url = at .. (get and body ~= '' and '?' .. body or ''),
      headers = head, body = not get and body or nil, timeout = o.timeout,
      connect_timeout = math.min(5, o.timeout), max_body = max_body or MAX_BODY,
      max_redirects = get and 3 or 0, tls = o.tls, target = 'prometheus', retries = 2,
      again = again,
    }
    if not response then return failure(code == 'io' and 'connection' or code, why) end
    return open_envelope(response, at)
  end

  --- The value of an expression at one time.
  ---@param expr string
  ---@param time? number  Unix seconds; now
  ---@return prometheus.Vector? vector
  ---@return prometheus.Failure? failure
  function client.query(_, expr, time)
    if type(expr) ~= 'string' then error('query: ' .. check.expected('an expression', expr), 2) end
    if time ~= nil and not is_finite(time) then
      error('query: ' .. check.expected('a time in Unix seconds', time), 2)
    end
    local answer, why = ask('query', { query = expr, time = time and time_text(time) or nil,
      timeout = units.duration_text(o.timeout) }, 'POST', max_vector)
    if not answer then return nil, why end
    return result(answer)
  end

  --- One piece of a range, in not more than so many points: where the answer is too large, in
  --- fewer.
  local function ask_piece(expr, from, stop, step, most)
    while true do
      local to = math.min(stop, from + (most - 1) * step)
      local answer, why = ask('query_range', { query = expr, start = time_text(from),
        ['end'] = time_text(to), step = time_text(step), timeout = units.duration_text(o.timeout) })
      if answer then return answer, most end
      if why.kind ~= 'too_large' or to == from then return nil, why end
      most = math.max(1, math.min(most, (to - from) // step + 1) // FEWER)
    end
  end

  --- The values of an expression from start to stop, both included, in steps. Long ranges and large
  --- answers are asked for in pieces, on one grid.
  ---@param expr string
  ---@param start number  Unix seconds
  ---@param stop number
  ---@param step number     seconds
  ---@param expected? integer  series, where that is known: pieces are as long as many series allow
  ---@return prometheus.Series[]? series  as the server sorts them; `.partial`, `.warnings` too
  ---@return prometheus.Failure? failure
  function client.query_range(_, expr, start, stop, step, expected)
    if type(expr) ~= 'string' then
      error('query_range: ' .. check.expected('an expression', expr), 2)
    end
    if not (is_finite(start) and is_finite(stop) and is_finite(step)) then
      error('query_range: start, stop and step are numbers, in seconds', 2)
    end
    if step < 0.001 or stop < start then
      error('query_range: step must be at least 0.001 and stop not before start', 2)
    end
    -- In the milliseconds that the server reads, or the pieces would not lie on one grid.
    start, step = tonumber(time_text(start)), tonumber(time_text(step))
    local most = math.max(1, math.min(POINTS, SAMPLES // math.max(1, expected or 1)))
    local series, by_key, done = {}, {}, 0
    repeat
      local answer, rest = ask_piece(expr, start + done * step, stop, step, most)
      if not answer then return nil, rest end
      most, done = rest, done + rest
      local data = answer.data
      if type(data) ~= 'table' or data.resultType ~= 'matrix' or type(data.result) ~= 'table' then
        return failure('bad_data', 'a range query must give a matrix')
      end
      warnings_of(answer, series)
      local added, wrong = append(series, by_key, data.result)
      if not added then return nil, wrong end
      async.turn() -- decoding took its time
    until start + done * step > stop
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

--- Labels as people read them: name="value", sorted by name.
---@param labels table<string, string>
---@param separator? string  ","
---@return string
function prometheus.labels_text(labels, separator)
  local parts = check.names(labels)
  for i, name in ipairs(parts) do parts[i] = ('%s=%q'):format(name, labels[name]) end
  return table.concat(parts, separator or ',')
end

return prometheus
