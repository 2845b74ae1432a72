--- POST /slack/interactions: Slack's buttons over HTTP. What comes in is believed for its
--- signature alone, over the bytes as they came and fresh; it is kept before it is answered, and
--- decided about afterwards.
local clock = require 'perigee.clock'
local hash = require 'perigee.hash'
local http = require 'http'
local json = require 'perigee.json'
local log = require 'log'
local slack_inbox = require 'engine.slack_inbox'

local slack = {}

local MAX_BODY = 1 << 20
local FRESH = 300 -- seconds, on either side

local function refuse(status, message) return nil, { status = status, message = message } end

--- Whether Slack has signed a request, just now.
---@param secret string
---@param headers table<string, string>
---@param body string  as it came
---@return boolean? ok
---@return string? message
function slack.verify(secret, headers, body)
  local at, given = headers['x-slack-request-timestamp'], headers['x-slack-signature']
  if not at or not at:find '^%d+$' or #at > 12 then return nil, 'no timestamp' end
  if not given then return nil, 'no signature' end
  if math.abs(clock.now() - tonumber(at)) > FRESH then
    return nil, ('the timestamp is more than %d s away'):format(FRESH)
  end
  local expected = 'v0=' .. hash.hmac_sha256(secret, ('v0:%s:%s'):format(at, body))
  if not hash.equal(expected, given) then return nil, 'the signature is not right' end
  return true
end

--- What a body holds: of a form the field `payload`, else JSON.
---@return table? payload
local function read(request)
  local kind = (request.headers['content-type'] or ''):lower():match '^[^;%s]*'
  local text = request.body
  if kind == 'application/x-www-form-urlencoded' then
    text = http.parse_form(text).payload or ''
  elseif kind ~= 'application/json' then
    return nil
  end
  local payload = json.decode(text)
  return type(payload) == 'table' and payload or nil
end

--- Answers a request: 200 with an empty body once it is kept, and a challenge with itself. What has
--- come before is kept already.
---@param engine table
---@param request http.Incoming
---@return { text: string }? answer
---@return { status: integer, message: string }? refusal
function slack.interactions(engine, request)
  local o = engine.config.slack
  if not o or not o.signing_secret_file then
    return refuse(404, 'slack.signing_secret_file is not set: buttons do not come here')
  end
  if #request.body > MAX_BODY then return refuse(413, 'the body is too large') end
  local secret, unreadable = http.token(o.signing_secret_file)
  if not secret then
    log.error('the signing secret of Slack cannot be read', { reason = unreadable })
    return refuse(503, 'the signing secret cannot be read')
  end
  local ok, message = slack.verify(secret, request.headers, request.body)
  if not ok then
    log.warn('a request in the name of Slack is refused', { peer = request.peer, reason = message })
    return refuse(401, message)
  end
  local payload = read(request)
  if not payload then return refuse(400, 'expected a form with a payload of JSON') end
  if payload.type == 'url_verification' and type(payload.challenge) == 'string' then
    return { text = payload.challenge }
  end
  slack_inbox.store(engine, request.headers['x-slack-request-timestamp'] .. ':'
    .. request.headers['x-slack-signature'], 'interactive', payload)
  engine.poke()
  return { text = '' }
end

return slack
