--- TLS in front of the Kubernetes fake, as a cluster has it: an authority of its own, HTTP/2
--- offered, client certificates taken.
local file = require 'perigee.file'
local node = require 'fakes.node'
local process = require 'perigee.process'
local raw = require 'fakes.raw'

local tls = {}

local function openssl(...)
  local child = assert(process.start { 'openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt',
    'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', ... })
  local status, _, words = child:wait(30)
  assert(status == 0, words)
end

---@class fakes.Front
---@field url string, port integer
---@field ca string, cert string, key string  paths: the authority, and a client's pair
---@field folder string
---@field close fun()

--- Starts it. The client certificate names `user`, whom the fake knows as it does others.
---@param fake fakes.Kubernetes
---@param user? string  "admin"
---@return fakes.Front
function tls.start(fake, user)
  local folder = assert(file.temporary_folder 'perigee-tls')
  local self = { folder = folder, ca = folder .. '/ca.crt', cert = folder .. '/client.crt',
    key = folder .. '/client.key' }
  local ca_key = folder .. '/ca.key'
  openssl('-keyout', ca_key, '-out', self.ca, '-subj', '/CN=the cluster')
  openssl('-CA', self.ca, '-CAkey', ca_key, '-keyout', folder .. '/server.key', '-out',
    folder .. '/server.crt', '-subj', '/CN=kube-apiserver', '-addext',
    'subjectAltName=IP:127.0.0.1,DNS:kubernetes.default.svc', '-addext',
    'basicConstraints=CA:FALSE')
  openssl('-CA', self.ca, '-CAkey', ca_key, '-keyout', self.key, '-out', self.cert, '-subj',
    '/CN=' .. (user or 'admin'), '-addext', 'basicConstraints=CA:FALSE')
  local child = node.start { 'tls_front.js', tostring(fake.port), folder .. '/server.key',
    folder .. '/server.crt', self.ca, output = folder .. '/out' }
  self.port = math.tointeger(raw.wait_for(folder .. '/out', '^(%d+)\n'))
  self.url = ('https://127.0.0.1:%d'):format(self.port)
  function self.close()
    child:kill(9)
    child:wait(10)
    os.execute(("rm -rf '%s'"):format(folder))
  end
  return self
end

return tls
