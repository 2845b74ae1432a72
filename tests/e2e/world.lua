--- What the specs from end to end share: perigee as its users run it, by its command line and its
--- API, among real peers. `local w = world.new()` before each test, `w:close()` after it.
local hash = require 'perigee.hash'
local http = require 'http'
local json = require 'json'
local process = require 'perigee.process'
local testing = require 'testing.world'

local world = {}

local World = setmetatable({}, { __index = testing.World })
World.__index = World

---@return table  a testing.World that can do more
function world.new()
  local self = setmetatable(testing.new 'perigee-e2e', World)
  self.servers = {}
  return self
end

-- -- what perigee looks at and acts upon --------------------------------------------------------

--- Serves until the world is closed.
---@param handler fun(request: http.Incoming): http.Outgoing
---@return integer port
---@return table server
function World:serve(handler)
  local server = assert(http.serve({}, handler))
  self.servers[#self.servers + 1] = server
  return server:port(), server
end

--- A shop that is acted upon: it keeps what it is asked, and answers as its field `answer` says.
---@return { url: string, port: integer, requests: http.Incoming[], answer?: function }
function World:target()
  local shop = { requests = {} }
  shop.port = self:serve(function(request)
    table.insert(shop.requests, request)
    return shop.answer and shop.answer(request) or {}
  end)
  shop.url = ('http://127.0.0.1:%d/'):format(shop.port)
  return shop
end

--- A program to scrape, with a gauge `load` by its label `app`.
---@param values table<string, number>  by app; read anew each time
---@return string target  host and port
---@return table server
function World:gauge(values)
  local port, server = self:serve(function()
    local lines = { '# TYPE load gauge' }
    for name, value in pairs(values) do
      lines[#lines + 1] = ('load{app=%q} %s'):format(name, value)
    end
    return { headers = { ['Content-Type'] = 'text/plain; version=0.0.4' },
      body = table.concat(lines, '\n') .. '\n' }
  end)
  return '127.0.0.1:' .. port, server
end

--- Ends the servers behind all that asks them.
function World:close()
  testing.World.close(self)
  for _, server in ipairs(self.servers) do server:close() end
end

-- -- the command line and its friends -------------------------------------------------------------

--- Runs the command line to its end.
---@return integer status
---@return string stdout
---@return string stderr
function World:cli(...)
  local status, out, err = assert(process.start { self.program, ... }):wait(60)
  return status, out, err
end

--- Starts Debian's Alertmanager; it tells a webhook of each alert within a second.
---@param hook string  URL
---@return string url
function World:alertmanager(hook)
  local port = testing.free_port()
  local config = self:write('alertmanager.yml', ([[
route: { receiver: hook, group_by: [alertname], group_wait: 0s, group_interval: 1s }
receivers: [ { name: hook, webhook_configs: [ { url: "%s", send_resolved: true } ] } ]
]]):format(hook))
  self:start('alertmanager', { 'prometheus-alertmanager', '--config.file=' .. config,
    '--storage.path=' .. self:path 'alertmanager', '--cluster.listen-address=',
    ('--web.listen-address=127.0.0.1:%d'):format(port) })
  local url = ('http://127.0.0.1:%d'):format(port)
  self:wait_for('Alertmanager', 30, function() return testing.get(url .. '/-/ready') end)
  return url
end

-- -- perigee --------------------------------------------------------------------------------------

---@class e2e.Perigee
---@field url string
---@field port integer
---@field child? perigee.process  while it runs
local Perigee = {}
Perigee.__index = Perigee

---@class e2e.Options
---@field name? string                   of its folder and log; "perigee"
---@field source? string                 URL of a Prometheus; one that is not there
---@field config? string                 YAML behind what is always there
---@field rules? table<string, string>   files by name
---@field tokens? table<string, string>  roles by name
---@field env? string[]                  for env(1): "NAME=VALUE", or a program to run it by

--- Writes a perigee's files, without starting it.
---@param o e2e.Options
---@return e2e.Perigee
function World:configure(o)
  local name, port = o.name or 'perigee', testing.free_port()
  local self_ = setmetatable({ world = self, name = name, folder = self:path(name), port = port,
    url = ('http://127.0.0.1:%d'):format(port), env = o.env or {}, tokens = {}, files = {} },
    Perigee)
  local roles = {}
  for who, role in pairs(o.tokens or {}) do
    self_.tokens[who] = hash.random(16)
    self_.files[who] = self:write(('%s/token-%s'):format(name, who), self_.tokens[who] .. '\n')
    table.insert(roles, ('{ name: %s, role: %s, token_file: token-%s }'):format(who, role, who))
  end
  self_.common = ([[
listen: 127.0.0.1:%d
data_dir: ./data
source: { prometheus: { url: "%s", timeout: 5s } }
auth: { tokens: [ %s ] }
]]):format(port, o.source or 'http://127.0.0.1:1', table.concat(roles, ', '))
  self_:set_config(o.config or '')
  for file_name, text in pairs(o.rules or {}) do self_:set_rules(file_name, text) end
  return self_
end

--- The same, started and ready.
---@param o e2e.Options
---@return e2e.Perigee
function World:perigee(o)
  local perigee = self:configure(o)
  perigee:start()
  return perigee
end

--- Writes perigee.yaml anew: these lines behind those of every test; without them those of before.
function Perigee:set_config(text)
  self.more = text or self.more
  self.config = self.world:write(self.name .. '/perigee.yaml', self.common .. self.more)
end

--- Writes a rule file; nil removes it.
function Perigee:set_rules(name, text)
  local path = ('%s/rules/%s'):format(self.name, name)
  if text then return self.world:write(path, text) end
  os.remove(self.world:path(path))
end

function Perigee:argv()
  local argv = { 'env', table.unpack(self.env) }
  for _, word in ipairs { self.world.program, 'run', '-c', self.config } do
    argv[#argv + 1] = word
  end
  return argv
end

--- Starts it, again too, and waits until it is ready.
function Perigee:start()
  self.child = self.world:start(self.name, self:argv())
  self.world:wait_for('perigee', 15, function()
    testing.must(self.child:running(), 'perigee has ended:\n%s', self:log())
    return testing.get(self.url .. '/-/ready')
  end)
end

--- Starts it where it should end by itself.
---@return integer status
---@return string stdout
---@return string stderr
function Perigee:fail()
  return assert(process.start(self:argv())):wait(20)
end

--- Ends it with a signal, TERM unless told otherwise. Returns its exit status.
function Perigee:stop(signal)
  self.child:kill(signal or 15)
  return (testing.must(self.child:wait(40), 'perigee does not end:\n%s', self:log()))
end

--- What it has said so far.
function Perigee:log() return self.world:log(self.name) end

--- A request; who: one of the tokens' names.
---@return http.Response? response
---@return string? message
function Perigee:request(method, path, body, who, headers)
  local all = { Authorization = who and 'Bearer ' .. self.tokens[who] or nil,
    ['Content-Type'] = body and 'application/json' or nil }
  for name, value in pairs(headers or {}) do all[name] = value end
  return http.request { method = method, url = self.url .. path, headers = all,
    body = type(body) == 'table' and json.encode(body) or body, timeout = 30,
    max_body = 64 << 20 }
end

--- Asks the API.
---@return any data        nil when it was refused
---@return integer status
---@return table answer    the whole envelope
function Perigee:api(method, path, body, who)
  local response = assert(self:request(method, path, body, who))
  local answer = json.decode(response.body) or {}
  return answer.data, response.status, answer
end

--- Reads from the API as the first of these who has a token: admin, viewer, nobody.
function Perigee:get(path)
  local who = self.tokens.admin and 'admin' or self.tokens.viewer and 'viewer' or nil
  return (testing.must(self:api('GET', path, nil, who), 'no answer to GET %s', path))
end

--- A command that talks to it, as one of the tokens' names.
---@return integer status
---@return string stdout
---@return string stderr
function Perigee:cli(who, ...)
  local words = { ... }
  for _, word in ipairs { '--url', self.url } do words[#words + 1] = word end
  if who then
    for _, word in ipairs { '--token-file', self.files[who] } do words[#words + 1] = word end
  end
  return self.world:cli(table.unpack(words))
end

--- A signal as the API shows it.
function Perigee:signal(name)
  for _, signal in ipairs(self:get '/api/v1/signals') do
    if signal.name == name then return signal end
  end
end

--- The values of samples of /metrics, all at one time; 0 where there is none.
---@param ... string  as /metrics writes them: name{labels}
---@return number ...
function Perigee:metric(...)
  local text = testing.must(testing.get(self.url .. '/metrics'), 'no /metrics')
  local values, out = {}, {}
  for line in text:gmatch '[^\n]+' do
    local name, value = line:match '^([^#].*) (%S+)$'
    if name then values[name] = tonumber(value) end
  end
  for i, name in ipairs { ... } do out[i] = values[name] or 0 end
  return table.unpack(out)
end

--- Waits until f() gives something; see testing.World.
function Perigee:wait_for(what, seconds, f) return self.world:wait_for(what, seconds, f) end

return world
