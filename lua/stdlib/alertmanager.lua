--- Alertmanager's API v2: alerts sent to it.
local check = require 'check'
local http = require 'http'
local json = require 'perigee.json'

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

--- A client from options that have been checked.
function alertmanager.connect(o)
  local client = { url = o.url }

  --- Sends alerts. The same alert may be sent again: Alertmanager tells it by its labels.
  ---@param alerts alertmanager.Alert[]
  ---@return boolean? ok
  ---@return string? message
  function client.post(_, alerts)
    local headers = { ['Content-Type'] = 'application/json' }
    if o.bearer_token_file then
      local value, message = http.bearer(o.bearer_token_file)
      if not value then return nil, message end
      headers.Authorization = value
    end
    local response, why = http.request {
      method = 'POST', url = o.url:gsub('/+$', '') .. '/api/v2/alerts', headers = headers,
      body = json.encode(json.array(alerts)), timeout = o.timeout, tls = o.tls,
      target = 'alertmanager', retries = 4,
    }
    if not response then return nil, why end
    if response.status >= 300 then
      return nil, ('status %d: %s'):format(response.status, response.body:sub(1, 200))
    end
    return true
  end

  return client
end

--- A client; calls of its methods wait.
---@param options { url: string, bearer_token_file?: string, tls?: http.Tls, timeout?: string }
function alertmanager.client(options)
  return alertmanager.connect(check.options('alertmanager.client', options, alertmanager.OPTIONS))
end

return alertmanager
