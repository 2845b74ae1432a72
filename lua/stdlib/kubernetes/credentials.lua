--- Who we are to a cluster: a token, a certificate, or what a program tells. Files are read anew at
--- least each minute and after a 401, for they are replaced while we run.
local async = require 'async'
local base64 = require 'perigee.base64'
local clock = require 'perigee.clock'
local exec = require 'kubernetes.exec'
local file = require 'perigee.file'
local log = require 'log'

local credentials = {}

local REREAD, MAX_FILE = 60, 1 << 20

--- A file's text as it was read last: an empty or unreadable one leaves what was there before.
local function kept_file(path, trim)
  local self = { path = path }
  function self.get()
    local now = clock.monotonic()
    if self.text and now < self.again then return self.text end
    local text, message = file.read(path, MAX_FILE)
    if text and trim then text = text:match '^%s*(.-)%s*$' end
    if not text or text == '' or trim and text:find '%c' then
      if not self.text then return nil, message or path .. ' holds no token' end
      log.warn('a credential cannot be read anew; the one before it is used',
        { file = path, reason = message or 'nothing usable is in it' })
    else
      if trim then log.secret(text) end
      self.text = text
    end
    self.again = now + REREAD
    return self.text
  end
  function self.forget() self.again = 0 end
  return self
end

---@class kubernetes.Credentials
---@field get fun(self): kubernetes.Presented?, string?  waits where a program is asked
---@field renew fun(self)  what is known is not believed any more
---@class kubernetes.Presented
---@field authorization? string  the header's value
---@field tls http.Tls

--- The credentials of a cluster as kubernetes/config.lua found it.
---@param cluster kubernetes.Cluster
---@return kubernetes.Credentials
function credentials.of(cluster)
  local user, files = cluster.user, {}
  for key, path in pairs { token = user.token_file, cert = user.cert_file, key = user.key_file,
    ca = cluster.ca_file } do
    files[key] = kept_file(path, key == 'token')
  end
  local basic = user.username and base64.encode(user.username .. ':' .. (user.password or ''))
  for _, secret in pairs { user.token or false, user.password or false, basic or false } do
    if secret and secret ~= '' then log.secret(secret) end
  end
  local program = user.exec and exec.program(user.exec, cluster)
  local one_at_a_time = async.gate(1)

  local function file_text(key, otherwise)
    if not files[key] then return otherwise end
    return files[key].get()
  end

  local function present()
    local told, why = {}, nil
    if program then told, why = program:get() end
    if not told then return nil, why end
    local out = { tls = { server_name = cluster.server_name,
      insecure_skip_verify = cluster.insecure_skip_verify } }
    for key, otherwise in pairs { ca = cluster.ca_data or false, cert = user.cert_data or false,
      key = user.key_data or false } do
      local text, message = file_text(key, otherwise or nil)
      if message then return nil, message end
      out.tls[key .. '_data'] = text
    end
    if told.cert_data then
      out.tls.cert_data, out.tls.key_data = told.cert_data, told.key_data
    end
    local token, message = file_text('token', user.token)
    if message then return nil, message end
    token = told.token or token
    out.authorization = token and 'Bearer ' .. token or basic and 'Basic ' .. basic
    return out
  end

  local self = {}
  function self.get() return one_at_a_time:run(present) end
  function self.renew()
    for _, f in pairs(files) do f.forget() end
    if program then program:forget() end
  end
  return self
end

return credentials
