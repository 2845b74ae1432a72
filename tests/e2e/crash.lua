--- A perigee that ends where the test wants it to (crash_shim.c), and its source, target and
--- Alertmanager in one, which notes what reaches it.
local async = require 'async'
local fake = require 'fakes.prometheus'
local json = require 'json'
local world = require 'e2e.world'

local crash = {}

--- How it ends at a call, by the shim's numbers; at 5 it does not, but its disk is full.
crash.WAYS = { 'before', 'after', 'within', 'with the power lost before' }
crash.FULL = 5

local SHIM = os.getenv('PERIGEE'):gsub('[^/]*$', 'crash_shim.so')

local RULES = [[
signal "latency" { query = "latency", every = "1s", detector = threshold { above = 0 } }
signal "errors" { query = "errors", every = "1s", detector = threshold { above = 0 } }
incident "sick" {
  signals = { "latency", "errors" }, min_signals = 2, within = "1m", reopen_within = "0",
}
local function post(path, undo)
  return http.request { method = "POST", url = "URL/act/" .. path, expect_status = 200,
    revert = undo and { method = "POST", url = "URL/undo/" .. path } }
end
playbook "cure" {
  when = incident "sick", trust = "TRUST",
  plan = function()
    return { post("1", true), post("2", true),
      verify { query = "cured", above = 0, within = "1s", otherwise = "revert" }, post("3") }
  end,
}
]]

local CONFIG = [[
drain: 5s
guardrails:
  dry_run: false
  cooldown: 0s
  max_actions_per_hour: 1000
  namespaces: [shop]
  http: [ { url_prefix: "%s/" } ]
alertmanager: { url: "%s" }
]]

---@class crash.Patient  one perigee with its source and target
---@field reached table<string, integer>  how often each action came to the target
---@field paged table<string, boolean>    by plan: whether Alertmanager was told
---@field on_reach? fun(action: string)
local Patient = {}
Patient.__index = Patient

---@param o { trust: string, cured: boolean, rules?: string, config?: fun(patient): string }  rules
---       and configuration beside the usual ones
---@return crash.Patient
function crash.new(o)
  local self = setmetatable({ world = world.new(), source = fake.serve(), reached = {},
    paged = {}, life = 0, reloads = 0 }, Patient)
  self.source.values = { latency = 1, errors = 1, cured = o.cured and 1 or 0 }
  function self.source.answer(request)
    if request.path == '/api/v2/alerts' then
      for _, alert in ipairs(json.decode(request.body)) do self.paged[alert.labels.plan] = true end
      return {}
    end
    if request.path == '/api/v2/silences' then return { body = '[]' } end
    local act = request.path:match '^/(%a+/%d)$'
    if not act then return nil end
    self.reached[act] = (self.reached[act] or 0) + 1
    if self.on_reach then self.on_reach(act) end
    return { body = 'done' }
  end
  self.trap = self.world:path 'trap'
  self.rules = (o.rules or RULES):gsub('%u%u%u+', { URL = self.source.url, TRUST = o.trust })
  self.perigee = self.world:configure { source = self.source.url, tokens = { admin = 'admin' },
    config = CONFIG:format(self.source.url, self.source.url) .. (o.config and o.config(self) or ''),
    rules = { ['cure.lua'] = self.rules } }
  return self
end

function Patient:close()
  self.world:close()
  self.source.close()
end
Patient.__close = Patient.close

-- -- its lives ------------------------------------------------------------------------------------

--- Sets the trap: at its at-th call, counted from now or, before it is started, from its start.
--- Without arguments there is none.
---@param at? integer
---@param how? integer
function Patient:arm(at, how)
  at, how = at or 0, how or 0
  local f <close> = assert(io.open(self.trap, 'r+b') or io.open(self.trap, 'w+b'))
  local calls = string.unpack('<i8', f:read(8) or ('\0'):rep(8))
  f:seek('set', self.alive and 8 or 0)
  f:write(self.alive and string.pack('<i8i8', at > 0 and calls + at or 0, how)
    or string.pack('<i8i8i8', 0, at, how))
end

--- How many calls there were since it was started.
function Patient:calls()
  local f <close> = assert(io.open(self.trap, 'rb'))
  return (string.unpack('<i8', f:read(8)))
end

function Patient:running() return self.perigee.child:running() end

--- Starts it; returns once it is ready or has ended.
---@return boolean ready
function Patient:start()
  local perigee = self.perigee
  perigee.env = { 'LD_PRELOAD=' .. SHIM, 'CRASH_FILE=' .. self.trap,
    'ASAN_OPTIONS=' .. (os.getenv 'ASAN_OPTIONS' or '') .. ':verify_asan_link_order=0' }
  self.life = self.life + 1
  perigee.child = self.world:start('life' .. self.life, perigee:argv())
  self.alive = true
  self:wait_for('the start', 20, function()
    return not self:running() or self:log():find 'msg=ready'
  end)
  return self:running()
end

--- Ends it at once, unless it has ended itself.
function Patient:kill()
  self.perigee.child:kill(9)
  self.perigee.child:wait(10)
  self.alive = false
end

function Patient:wait_for(what, seconds, f) return self.world:wait_for(what, seconds, f) end

--- What it has said in this life.
function Patient:log() return self.world:log('life' .. self.life) end

--- The answer of the API, or nil where nobody answers or the request is refused.
function Patient:ask(method, path, body)
  local response = self.perigee:request(method, path, body, 'admin')
  local answer = response and json.decode(response.body) or {}
  return answer.data, response and response.status
end

--- Approves what waits for it.
function Patient:approve()
  for _, p in ipairs(self:ask('GET', '/api/v1/approvals') or {}) do
    self:ask('POST', ('/api/v1/plans/%s/approve'):format(p.id), { digest = p.digest })
  end
end

--- Reads the rules anew, with one more line.
function Patient:reload()
  self.reloads = self.reloads + 1
  self.perigee:set_rules('cure.lua', ('-- %d\n%s'):format(self.reloads, self.rules))
  self.perigee.child:kill(1)
end

-- -- many of them -------------------------------------------------------------------------------

--- Plays the rounds of all stories, so many at a time. SOAK=1: it tells how far it is.
---@param stories table[]
---@param add fun(rounds: (fun(): string?)[], story: table)  adds the rounds of a story, each of
---       which returns what is wrong after it
---@param at_once integer
---@return string[] problems
function crash.rounds(stories, add, at_once)
  local rounds, jobs, problems, done = {}, {}, {}, 0
  for i, story in ipairs(stories) do
    jobs[i] = function() add(rounds, story) end
  end
  async.all(jobs)
  for i, one in ipairs(rounds) do
    jobs[i] = function()
      local problem = one() -- first: while it waits, others are added
      problems[#problems + 1] = problem
      done = done + 1
      if os.getenv 'SOAK' and done % 20 == 0 then
        print(('crashes: %d of %d rounds, %d wrong'):format(done, #rounds, #problems))
      end
    end
  end
  async.all(jobs, at_once)
  return problems
end

return crash
