--- A server with a certificate of its own making, for "tls.test": OpenSSL's own test server.
local file = require 'perigee.file'
local process = require 'perigee.process'
local raw = require 'fakes.raw'

local tls = {}

--- A key and a certificate that nobody else vouches for, in a folder that is the caller's.
---@param name? string  as subjectAltName has it; "DNS:tls.test"
---@return { cert: string, key: string, folder: string }  paths
function tls.certificate(name)
  local folder = assert(file.temporary_folder 'perigee-tls')
  local made = { cert = folder .. '/cert.pem', key = folder .. '/key.pem', folder = folder }
  local child = assert(process.start { 'openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt',
    'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', made.key, '-out', made.cert, '-days', '2',
    '-subj', '/CN=tls.test', '-addext', 'subjectAltName=' .. (name or 'DNS:tls.test') })
  local status, _, words = child:wait()
  assert(status == 0, words)
  return made
end

--- Serves a page over TLS until it is closed.
---@param pair { cert: string, key: string }
---@return { url: string, close: fun(self) }
function tls.serve(pair, ...)
  local folder = assert(file.temporary_folder 'perigee-tls')
  local child = assert(process.start { 'openssl', 's_server', '-www', '-accept', '127.0.0.1:0',
    '-cert', pair.cert, '-key', pair.key, output = folder .. '/out', ... })
  local port = raw.wait_for(folder .. '/out', 'ACCEPT [%d.]+:(%d+)')
  return { url = 'https://127.0.0.1:' .. port,
    close = function() raw.finish(child, folder) end }
end

return tls
