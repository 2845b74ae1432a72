--- The Kubernetes fake as a program of its own, for tests from end to end:
---
---   local fake = remote.start(world, { objects = { … } })
---   fake.url; fake:put(…), :get(…), :asked(…) and so on, as in kubernetes.lua
---
--- The world ends it.
local http = require 'http'
local json = require 'json'
local file = require 'perigee.file'

local remote = {}

local Remote = {}

--- Every method is the other side's.
function Remote.__index(_, name)
  return function(self, ...)
    local arguments = json.array { ... }
    for i = 1, select('#', ...) do
      if arguments[i] == nil then arguments[i] = json.null end
    end
    local response = assert(http.request { method = 'POST', url = self.url .. '/_fake/' .. name,
      body = json.encode(arguments), max_body = 64 << 20 })
    assert(response.status == 200, response.body)
    return assert(json.decode(response.body)).result
  end
end

--- Starts it in a world.
---@param world testing.World
---@param options? fakes.KubernetesOptions  without functions
---@return fakes.Kubernetes
function remote.start(world, options)
  local port_file = world:path 'kubernetes.port'
  world:start('kubernetes', { world.program, 'lua', 'tests/fakes/kubernetes_server.lua', port_file,
    json.encode(options or {}) })
  local port = world:wait_for('the Kubernetes fake', 10, function() return file.read(port_file) end)
  return setmetatable({ url = 'http://127.0.0.1:' .. port, port = math.tointeger(port) }, Remote)
end

return remote
