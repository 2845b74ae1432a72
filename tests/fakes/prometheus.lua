--- The query API of a Prometheus that says what a test has it say, right or wrong.
local clock = require 'perigee.clock'
local http = require 'http'
local json = require 'json'
local number_text = require('prometheus').number_text

local prometheus = {}

---@class fakes.Prometheus
---@field url string
---@field values table<string, any>  by query: a number, samples { { labels, value }, … }, or a
---       function that gives either for a time
---@field answer? fun(request: table, query: string): table?  a response instead of the values
---@field asked table[]              the requests so far
---@field close fun(self)

--- The samples of a query at a time.
local function samples(self, query, t)
  local value = self.values[query]
  if type(value) == 'function' then value = value(t) end
  if type(value) == 'number' then value = { { labels = {}, value = value } } end
  return value or {}
end

local function instant(self, fields)
  local t, result = tonumber(fields.time) or clock.now(), json.array()
  for i, s in ipairs(samples(self, fields.query, t)) do
    result[i] = { metric = s.labels, value = { t, number_text(s.value) } }
  end
  return { resultType = 'vector', result = result }
end

local function range(self, fields)
  local result, by_key = json.array(), {}
  for t = tonumber(fields.start), tonumber(fields['end']), tonumber(fields.step) do
    for _, s in ipairs(samples(self, fields.query, t)) do
      local key = json.encode(s.labels)
      if not by_key[key] then
        by_key[key] = { metric = s.labels, values = json.array() }
        result[#result + 1] = by_key[key]
      end
      table.insert(by_key[key].values, { t, number_text(s.value) })
    end
  end
  return { resultType = 'matrix', result = result }
end

--- A response in JSON.
function prometheus.json(value, status)
  return { status = status, headers = { ['Content-Type'] = 'application/json' },
    body = json.encode(value) }
end

--- Serves until it is closed.
---@param port? integer
---@return fakes.Prometheus
function prometheus.serve(port)
  local self = { values = {}, asked = {} }
  local server = assert(http.serve({ port = port, max_connections = 500 }, function(request)
    local fields = http.parse_form(request.body ~= '' and request.body or request.query)
    table.insert(self.asked, request)
    local wrong = self.answer and self.answer(request, fields.query)
    if wrong then return wrong end
    local data = (request.path:find 'query_range' and range or instant)(self, fields)
    return prometheus.json { status = 'success', data = data }
  end))
  self.port = server:port()
  self.url = ('http://127.0.0.1:%d'):format(self.port)
  function self.close() server:close() end
  return self
end

return prometheus
