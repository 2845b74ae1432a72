--- WebSockets (RFC 6455): a connection to a server, whose messages are waited for. Pings are sent
--- and answered beneath; a peer that has gone silent is an end like others.
local check = require 'check'
local http = require 'http'
local raw = require 'perigee.websocket'

local websocket = {}

local function url(v)
  if type(v) ~= 'string' or not v:find '^wss?://' then
    return check.expected('a URL such as "wss://example.org/"', v)
  end
  return http.check_url((v:gsub('^ws', 'http')))
end

---@class websocket.Options
---@field url string
---@field ca_file? string           who is believed, instead of the system's authorities
---@field max_message? integer      bytes; 1 MiB
---@field open_timeout? number      seconds to connect and to shake hands; 10
---@field close_timeout? number     seconds that the peer's close is waited for; 1
---@field ping_interval? number     seconds between two pings; 5
---@field pong_timeout? number      seconds without a pong until the peer is given up; 20
---@field peer_ping_timeout? number the same once the peer pings, and stops to; it need not
local OPTIONS = {
  url = check.required { test = url },
  ca_file = check.string(),
  max_message = check.number(1 << 20, { min = 1, max = 1 << 26, integer = true }),
  open_timeout = check.number(10, { above = 0, max = 3600 }),
  close_timeout = check.number(1, { above = 0, max = 3600 }),
  ping_interval = check.number(5, { above = 0, max = 3600 }),
  pong_timeout = check.number(20, { above = 0, max = 3600 }),
  peer_ping_timeout = check.number(nil, { above = 0, max = 3600 }),
}

--- Connects, and waits until it is open.
---@param options websocket.Options
---@return perigee.WebSocket? ws  :receive([seconds]), :send(text), :close(), :ended([seconds])
---@return string? message
---@return string? code           "timeout", "connection", "dns", "reset", "protocol", "handshake"
function websocket.connect(options)
  local o = check.options('websocket.connect', options, OPTIONS)
  local ws, message = raw.start(o)
  if not ws then return nil, message, 'url' end
  local is_open = false
  -- Who is cancelled while it waits leaves nothing behind.
  local _ <close> = setmetatable({}, { __close = function()
    if not is_open then ws:abandon() end
  end })
  local ok, why, code = ws:opened()
  is_open = ok == true
  if not ok then return nil, why, code end
  return ws
end

return websocket
