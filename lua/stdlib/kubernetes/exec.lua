--- Credentials that a program tells (kubeconfig's `exec`): started without a shell, given so much
--- time and output, and asked again when what it said is about to expire, or is refused.
local clock = require 'perigee.clock'
local excerpt = require 'excerpt'
local json = require 'perigee.json'
local log = require 'log'
local process = require 'perigee.process'
local series_file = require 'perigee.series_file'

local exec = {}

local TIMEOUT, MAX_OUTPUT = 30, 1 << 20 -- seconds, bytes
local EARLY = 10                        -- seconds before it expires it is not used any more

--- What the program learns of us, and of the cluster where it wants to.
local function info(o, cluster)
  local spec = { interactive = false }
  if o.provide_cluster then
    spec.cluster = { server = cluster.server, ['tls-server-name'] = cluster.server_name,
      ['insecure-skip-tls-verify'] = cluster.insecure_skip_verify, ['proxy-url'] = cluster.proxy }
  end
  return json.encode { apiVersion = o.api_version, kind = 'ExecCredential', spec = spec }
end

local function run(o, cluster)
  local env = { KUBERNETES_EXEC_INFO = info(o, cluster) }
  for name, value in pairs(o.env) do env[name] = value end
  local child, message = process.start { limit = MAX_OUTPUT, add_env = env, o.command,
    table.unpack(o.args) }
  if not child then
    return nil, ('%s: %s%s'):format(o.command, message, o.hint and '\n' .. o.hint or '')
  end
  local _ <close> = setmetatable({}, { __close = function() child:kill(9) end })
  local status, out, err, truncated = child:wait(TIMEOUT)
  if not status then return nil, ('%s: no answer in %d seconds'):format(o.command, TIMEOUT) end
  if truncated then return nil, o.command .. ': it writes too much' end
  if status ~= 0 then
    -- Its words may hold what it asked for; known secrets are taken out, and they are cut.
    return nil, ('%s ended with status %d: %s'):format(o.command, status,
      excerpt.line(log.redact(err), 200))
  end
  return out
end

local function text(v) return type(v) == 'string' and v ~= '' and v or nil end

--- What a program wrote: { token?, cert_data?, key_data?, expires? }, or nil and what is wrong.
function exec.read(out, api_version)
  local answer = json.decode(out)
  if type(answer) ~= 'table' or answer.kind ~= 'ExecCredential' then
    return nil, 'it wrote no ExecCredential'
  end
  if answer.apiVersion ~= api_version then
    return nil, ('it wrote an ExecCredential of another version than %s'):format(api_version)
  end
  local status = type(answer.status) == 'table' and answer.status or {}
  local told = { token = text(status.token), cert_data = text(status.clientCertificateData),
    key_data = text(status.clientKeyData) }
  if (told.cert_data == nil) ~= (told.key_data == nil) then
    return nil, 'a certificate and its key belong together'
  end
  if not told.token and not told.cert_data then return nil, 'it tells no token, no certificate' end
  if told.token and told.token:find '%c' then return nil, 'its token has more than one line' end
  if status.expirationTimestamp ~= nil then
    told.expires = type(status.expirationTimestamp) == 'string'
      and series_file.time(status.expirationTimestamp)
    if not told.expires then return nil, 'its expirationTimestamp is no time' end
  end
  return told
end

--- A program whose answer is kept until it expires.
function exec.program(o, cluster)
  local self, kept = {}, nil
  function self.get()
    if kept and (not kept.expires or clock.now() < kept.expires - EARLY) then return kept end
    local out, message = run(o, cluster)
    if not out then return nil, message end
    kept, message = exec.read(out, o.api_version)
    if not kept then return nil, ('%s: %s'):format(o.command, message) end
    if kept.token then log.secret(kept.token) end
    return kept
  end
  function self.forget() kept = nil end
  return self
end

return exec
