--- The Kubernetes fake as a program: `perigee lua tests/fakes/kubernetes_server.lua PORT-FILE
--- [OPTIONS]`. It writes its port to the file, and takes options of kubernetes.start as JSON. A
--- test talks to it by kubernetes_remote.lua.
package.path = 'tests/?.lua;' .. package.path

local async = require 'async'
local file = require 'perigee.file'
local json = require 'json'
local kubernetes = require 'fakes.kubernetes'

local METHODS = {}
for _, name in ipairs { 'put', 'get', 'list', 'remove', 'changes', 'asked', 'fault', 'faults_hit',
  'clear_faults', 'step', 'settle', 'advance', 'restart', 'compact', 'set_tokens' } do
  METHODS[name] = true
end

--- POST /_fake/METHOD with a list of arguments calls that method.
local function control(fake, request)
  local name = request.path:match '^/_fake/(.+)$'
  assert(METHODS[name], 'no such method: ' .. name)
  local arguments = assert(json.decode(request.body))
  for i, v in ipairs(arguments) do
    if v == json.null then arguments[i] = nil end
  end
  local result = fake[name](fake, table.unpack(arguments, 1, 4))
  return { body = json.encode { result = result } }
end

local port_file, options = ...
local o = options and assert(json.decode(options)) or {}
o.control = control
local fake = kubernetes.start(o)
assert(file.write(port_file, tostring(fake.port)))
while true do async.sleep(3600) end
