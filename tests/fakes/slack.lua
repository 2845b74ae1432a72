--- Slack as far as approvals need it, with its limits and its whims: Web API, Socket Mode, signed
--- clicks over HTTP. It is tests/node/slack_server.js, on the WebSocket package that Slack's own
--- clients use; slack_spec.lua holds it against these.
local file = require 'perigee.file'
local http = require 'http'
local json = require 'json'
local node = require 'fakes.node'
local raw = require 'fakes.raw'

local slack = {}

slack.BOT_TOKEN, slack.APP_TOKEN = 'xoxb-of-the-bot', 'xapp-of-the-app'
slack.SIGNING_SECRET = 'of-the-signature'
slack.CHANNEL = 'C0001' -- of "#incident-response"

---@class fakes.Slack
---@field url string  of the Web API, for slack.api_url
local Slack = {}
Slack.__index = Slack

--- Asks it to do something, or to be so: the names below `CONTROL` in slack_server.js.
function Slack:control(name, args)
  local response = assert(http.request { method = 'POST', timeout = 30, max_body = 64 << 20,
    url = ('http://127.0.0.1:%d/control/%s'):format(self.port, name),
    body = json.encode(args or {}), headers = { ['Content-Type'] = 'application/json' } })
  assert(response.status == 200, response.body)
  return json.decode(response.body)
end

--- What it has got: messages, ephemerals, views, calls, acks, closes, connections (their number).
function Slack:state() return self:control 'state' end

--- A person presses a button. By Socket Mode, or with `url` by a signed POST. Waits for the
--- acknowledgement, three seconds at most.
---@param click { user: string, action_id: string, value: string, channel: string, ts: string,
---   url?: string, skew?: integer, secret?: string, body?: string }
---@return { acknowledged: boolean, ms?: number, error?: string, status?: integer }
function Slack:click(click) return self:control('click', click) end

--- The next calls of a method go wrong: { method, times?, status?, retry_after?, error?, lose? };
--- lose: it is done, and the answer is lost.
function Slack:fault(fault) self:control('fault', fault) end

function Slack:close()
  raw.finish(self.child, self.folder)
end

--- Serves until it is closed.
---@param options? table  bot_token, app_token, signing_secret, channels, user_groups, ping_ms,
---   ack_ms, max_connections, seed
---@return fakes.Slack
function slack.serve(options)
  local folder = assert(file.temporary_folder 'perigee-slack')
  local child = node.start { 'slack_server.js', json.encode(options or {}),
    output = folder .. '/out' }
  local port = tonumber(raw.wait_for(folder .. '/out', '^(%d+)\n'))
  return setmetatable({ port = port, url = ('http://127.0.0.1:%d/api'):format(port), child = child,
    folder = folder }, Slack)
end

return slack
