--- Who may do what. Without tokens nobody can change anything over HTTP; with them, each request is
--- one of the named people or programs, told by a bearer token.
local hash = require 'perigee.hash'
local http = require 'http'

local auth = {}

--- What each role includes; a sender of alerts may do nothing else.
local INCLUDES = {
  viewer = { viewer = true },
  approver = { viewer = true, approver = true },
  admin = { viewer = true, approver = true, admin = true, alert_sender = true },
  alert_sender = { alert_sender = true },
}

---@class auth.Identity
---@field name string
---@field role string

---@class auth.Refusal
---@field status 401|403
---@field message string

local function refuse(status, message) return nil, { status = status, message = message } end

--- The identity of a bearer token. Every token is compared, in full, whichever fits.
local function identify(config, header)
  local given = (header or ''):match '^[Bb]earer%s+(%S+)$'
  local found
  for _, token in ipairs(config.auth.tokens) do
    if given and hash.equal(hash.sha256(given), hash.sha256(token.token)) then found = token end
  end
  return found and { name = found.name, role = found.role }
end

--- Whether a request may do what needs a role.
---@param config table
---@param request table
---@param needs "open"|"viewer"|"approver"|"admin"|"alert_sender"
---@return auth.Identity? identity  {name = "anonymous"} where nobody needs to be anyone
---@return auth.Refusal?
function auth.check(config, request, needs)
  local anonymous = { name = 'anonymous', role = 'none' }
  if needs == 'open' then return anonymous end
  if #config.auth.tokens == 0 then
    if needs == 'viewer' then return anonymous end
    return refuse(403, 'nothing can be changed over HTTP until auth.tokens names who may')
  end
  local identity = identify(config, request.headers.authorization)
  if not identity then
    return refuse(401, 'a bearer token is needed, and it must be a known one')
  end
  if not INCLUDES[identity.role][needs] then
    return refuse(403, ('%s has the role %s; this needs %s'):format(identity.name, identity.role,
      needs))
  end
  return identity
end

local function host_of(text)
  return text:match '^%[([%x:.]+)%]:?%d*$' or text:match '^([^:]+):?%d*$'
end

local function is_address(host) return host:find '^%d+%.%d+%.%d+%.%d+$' or host:find ':' end

--- A page of somebody else's whose name suddenly leads here (DNS rebinding) still sends its own
--- name.
local function host_allowed(config, request)
  local host = host_of(request.headers.host or '')
  if not host then return false end
  host = host:lower()
  if host == 'localhost' or is_address(host) then return true end
  for _, allowed in ipairs(config.allowed_hosts) do
    if host == allowed:lower() then return true end
  end
  local own = config.external_url and http.parse_url(config.external_url)
  return own and own.host == host
end

--- A browser tells which page a request comes from; only our own may send what changes something.
local function origin_allowed(config, request)
  local origin = request.headers.origin
  if not origin then return true end
  local host = request.headers.host or ''
  if origin == 'http://' .. host or origin == 'https://' .. host then return true end
  local own = config.external_url and http.parse_url(config.external_url)
  local theirs = own and http.parse_url(origin)
  return theirs ~= nil and theirs.scheme == own.scheme and theirs.host == own.host
    and theirs.port == own.port
end

---@return string? message  why a request is refused before anybody asks who sent it
function auth.refuse_request(config, request)
  if not host_allowed(config, request) then
    return ('the Host header "%s" is not one of ours; allowed_hosts names more'):format(
      request.headers.host or '')
  end
  if request.method ~= 'GET' and request.method ~= 'HEAD' and not origin_allowed(config,
    request) then
    return ('requests from pages of %s are refused'):format(request.headers.origin)
  end
end

return auth
