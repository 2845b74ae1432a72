--- Alertmanager's API v2: alerts sent to it.
local file = require 'perigee.file'
local http = require 'http'
local json = require 'perigee.json'
local log = require 'log'

local alertmanager = {}

---@class alertmanager.Client
---@field url string
---@field bearer_token_file? string
---@field tls? table
---@field timeout? number  seconds

--- Sends alerts. The same alert may be sent again: Alertmanager tells it by its labels.
---@param client alertmanager.Client
---@param alerts { labels: table, annotations?: table, startsAt?: string, endsAt?: string }[]
---@return boolean? ok
---@return string? message
function alertmanager.post(client, alerts)
  local headers = { ['Content-Type'] = 'application/json' }
  if client.bearer_token_file then
    local token, message = file.read(client.bearer_token_file, 65536)
    if not token then return nil, message end
    token = token:match '^%s*(.-)%s*$'
    log.secret(token)
    headers.Authorization = 'Bearer ' .. token
  end
  local response, message = http.request {
    method = 'POST', url = client.url:gsub('/+$', '') .. '/api/v2/alerts', headers = headers,
      tls = client.tls,
    body = json.encode(json.array(alerts)), timeout = client.timeout or 10, target = 'alertmanager',
    retries = 4,
  }
  if not response then return nil, message end
  if response.status >= 300 then
    return nil, ('status %d: %s'):format(response.status, response.body:sub(1, 200))
  end
  return true
end

return alertmanager
