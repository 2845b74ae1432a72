--- What the engine's specs share: an engine over a store in memory, with rules from text, a source
--- that answers what it is told, and a clock that moves only when it is asked to.
local async = require 'async'
local check = require 'check'
local clock = require 'perigee.clock'
local config = require 'config'
local evaluate = require 'engine.evaluate'
local file = require 'perigee.file'
local folders = require 'lua.folders'
local incidents = require 'engine.incidents'
local load_rules = require 'rules.load'
local log = require 'log'
local models = require 'engine.models'
local playbooks = require 'engine.playbooks'
local plans = require 'engine.plans'
local scheduler = require 'engine.scheduler'
local store = require 'perigee.store'

local support = {}

support.START = 1700000000

--- From here on time stands still; log lines go nowhere.
function support.still()
  clock.make_virtual(support.START)
  log.capture(true)
end

--- Lets every task that is ready run, and those that they wake.
function support.turns(n)
  for _ = 1, n or 20 do async.spawn(function() end):await() end
end

--- Configuration values: the defaults, and what the test sets.
function support.config(set)
  local root = { source = { prometheus = { url = 'http://127.0.0.1:9' } } }
  for k, v in pairs(set or {}) do root[k] = v end
  local values, problems = check.apply(root, config.SPEC)
  assert(#problems == 0, problems[1] and check.words(problems[1]))
  for _, token in ipairs(values.auth.tokens) do token.token = 'secret-of-' .. token.name end
  values.calendar = {}
  values.data_dir = set and set.data_dir or support.folder()
  return values
end

--- A folder that tidy() takes away.
support.folder, support.tidy = folders.new, folders.tidy

--- The definitions of rule files given as texts by name.
---@param texts string|table<string, string>
function support.rules(texts, every)
  if type(texts) == 'string' then texts = { ['rules.lua'] = texts } end
  local folder, paths = support.folder(), {}
  for name, text in pairs(texts) do
    paths[#paths + 1] = folder .. '/' .. name
    assert(file.write(paths[#paths], text))
  end
  table.sort(paths)
  local set, problems = load_rules.load(paths, { every = every or 30, limits = {} })
  assert(#problems == 0, problems[1] and config.problem_text(problems[1]))
  return set
end

--- A source: answers[expr] is a vector { { labels, value }, … }, a failure { message=, kind= }, or
--- a function of the time that gives one of the two.
function support.source()
  local source = { url = 'http://127.0.0.1:9', answers = {}, ranges = {}, asked = {} }

  local function answer(from, expr, ...)
    source.asked[#source.asked + 1] = expr
    local found = from[expr]
    if type(found) == 'function' then found = found(...) end
    if found == nil then found = {} end
    if found.message then
      return nil, { message = found.message, kind = found.kind or 'connection' }
    end
    return found
  end

  function source.query(_, expr, time)
    local found, failure = answer(source.answers, expr, time or clock.now())
    if not found then return nil, failure end
    local out = { type = found.type or 'vector', partial = found.partial,
      warnings = found.warnings }
    for i, s in ipairs(found) do
      local labels = {}
      for k, v in pairs(s[1]) do labels[k] = v end
      out[i] = { labels = labels, value = s[2], time = time or clock.now() }
    end
    return out
  end

  source.alerts = {}
  function source.get() return { alerts = source.alerts } end

  function source.query_range(_, expr, start, stop, step)
    return answer(source.ranges, expr, start, stop, step)
  end
  return source
end

--- An engine that nothing drives but the test.
---@param o { rules?: string|table, config?: table, path?: string, source?: table,
---   process?: string, store?: table }
function support.engine(o)
  o = o or {}
  local values = support.config(o.config)
  local source = o.source or support.source()
  local engine = { config = values, store = o.store or assert(store.open(o.path or ':memory:')),
    process = o.process or 'process-1', source = source, own_port = values.listen.port,
    external_url = 'http://127.0.0.1:9747', proposing = {}, looking = {},
    queries = async.gate(values.limits.concurrent_queries),
    rules = o.rules and support.rules(o.rules) or { signals = {}, incidents = {}, playbooks = {},
      forecasts = {}, predictions = {}, policies = {}, groups = {}, alerts = {}, files = {} } }
  engine.rules.loaded_at = clock.now()
  engine.models = models.keeper(engine.store, source)
  function engine.template_query() return {} end
  function engine.poke() end
  function engine.run(_, f, ...) f(...) end
  return engine
end

--- Random whole numbers from a seed, the same on every machine.
function support.random(seed)
  local x = seed * 2654435761 % 0x100000000 | 1
  return function(n)
    x = x ~ (x << 13) & 0xffffffff
    x = x ~ (x >> 17)
    x = x ~ (x << 5) & 0xffffffff
    return x % n + 1
  end
end

--- Kinds of the audit trail's records, in order.
function support.kinds(engine)
  local out = {}
  for i, record in ipairs(require('engine.audit').list(engine.store, 0, 10000)) do
    out[i] = record.kind
  end
  return out
end

--- The query `q` gives an odd value twice: its signal fires, the incident opens, and what its
--- playbook plans is there.
---@return table incident, table plan
function support.go_wrong(engine, incident)
  engine.source.answers.q = { { { app = 'shop' }, 5 } }
  local job = scheduler.jobs(engine.rules)[1]
  for _ = 1, 2 do
    clock.advance(10)
    evaluate.run(engine, job, clock.now())
  end
  incidents.converge(engine, incident)
  playbooks.consider_all(engine)
  return incidents.active(engine.store)[1], plans.list(engine.store, 1)[1]
end

return support
