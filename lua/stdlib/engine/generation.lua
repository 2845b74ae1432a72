--- One generation of configuration and rules: read and checked as a whole, then made active between
--- two turns of the loop, later drained. It holds code; state is in the store.
local alertmanager = require 'alertmanager'
local alerts_out = require 'engine.alerts_out'
local async = require 'async'
local audit = require 'engine.audit'
local check = require 'check'
local clock = require 'perigee.clock'
local config = require 'config'
local daemon = require 'perigee.daemon'
local file = require 'perigee.file'
local fits = require('engine.gates.names').fits
local forecasts = require 'engine.forecasts'
local groups = require 'engine.groups'
local github = require 'github'
local guardrails = require 'engine.guardrails'
local hash = require 'perigee.hash'
local incidents = require 'engine.incidents'
local json = require 'perigee.json'
local kubernetes = require 'kubernetes'
local load_rules = require 'rules.load'
local log = require 'log'
local metrics = require 'engine.metrics'
local models = require 'engine.models'
local prometheus = require 'prometheus'
local quorum = require 'engine.quorum'
local recovery = require 'engine.recovery'
local routes = require 'server.routes'
local scheduler = require 'engine.scheduler'
local slack = require 'slack'
local slack_inbox = require 'engine.slack_inbox'
local slack_outbox = require 'engine.slack_outbox'
local socket_mode = require 'slack.socket_mode'

local generation = {}

-- Bytes of an answer, and of each series in it: where there are far too many, none is even read.
local ANSWER, SERIES = 65536, 2048

local function texts(problems)
  local out = {}
  for i, p in ipairs(problems) do out[i] = config.problem_text(p) end
  return out
end

--- Reads and checks everything; nothing is changed by it.
---@return table? read  { config, rules, digest }
---@return string[] problems
function generation.read(path)
  local values, problems, text = config.read(path)
  if not values then return nil, texts(problems), 'config' end
  local rules, errors, warnings = load_rules.load(values.files, {
    every = values.evaluation_interval, folder = path:match '^(.*)/[^/]*$' or '.',
    groups = values.approvals.groups,
    limits = { instructions = 1000000, allocated = 64 << 20,
      cpu_ms = math.tointeger(values.limits.rule_cpu) } })
  if #errors > 0 then return nil, texts(errors), 'rules' end
  for _, line in ipairs(texts(warnings)) do log.warn('rule warning', { warning = line }) end
  local parts = { text }
  for _, f in ipairs(rules.files) do parts[#parts + 1] = f.path .. '\0' .. f.digest end
  for _, name in ipairs(check.names(rules.predictions)) do
    parts[#parts + 1] = name .. '\0' .. rules.predictions[name].loaded.digest
  end
  for _, token in ipairs(values.auth.tokens) do parts[#parts + 1] = token.token end
  parts[#parts + 1] = json.encode(values.kubernetes and values.kubernetes.cluster or {})
  return { config = values, rules = rules, digest = hash.sha256(table.concat(parts, '\0')) }, {}
end

--- What is there by name, and of which file: to tell what a reload has changed.
local function inventory(rules)
  local names = {}
  for _, kind in ipairs { 'signals', 'incidents', 'playbooks', 'forecasts', 'predictions',
    'policies' } do
    for name, def in pairs(rules[kind]) do
      names[('%s %s'):format(def.kind, name)] = hash.sha256(def.owner .. def.file_digest)
    end
  end
  for _, group in ipairs(rules.groups) do
    local name = ('group %s/%s'):format(group.file:match '[^/]+$', group.name)
    names[name] = hash.sha256(group.owner .. group.file_digest)
  end
  return names
end

local function log_changes(before, after)
  local added, changed, removed = {}, {}, {}
  for name, digest in pairs(after) do
    if not before[name] then added[#added + 1] = name
    elseif before[name] ~= digest then changed[#changed + 1] = name end
  end
  for name in pairs(before) do
    if not after[name] then removed[#removed + 1] = name end
  end
  for _, list in ipairs { added, changed, removed } do table.sort(list) end
  log.info('rules are active',
    { added = table.concat(added, ', '), changed = table.concat(changed, ', '),
    removed = table.concat(removed, ', ') })
  return #added + #changed + #removed
end

local function own_url(listen)
  local host = listen.host:find ':' and ('[%s]'):format(listen.host) or listen.host
  return ('http://%s:%d'):format(host, listen.port)
end

local function new_engine(read, store)
  local values = read.config
  local engine = { config = values, rules = read.rules, store = store, process = daemon.process(),
    source = prometheus.connect(values.source.prometheus,
      ANSWER + values.limits.max_series * SERIES),
    alertmanager = values.alertmanager and alertmanager.connect(values.alertmanager),
    slack = values.slack and slack.connect(values.slack),
    github = values.github and github.connect(values.github),
    kubernetes = values.kubernetes and kubernetes.connect(values.kubernetes),
    external_url = values.external_url or own_url(values.listen),
    own_port = values.listen.port, queries = async.gate(values.limits.concurrent_queries),
    proposing = {}, looking = {} }
  engine.alerts_out = alerts_out.queue(engine.alertmanager)
  engine.models = models.keeper(store, engine.source)
  --- The samples of an expression as templates see them.
  function engine.template_query(self, expr, time)
    local vector, failure = self.source:query(expr, time)
    if not vector then return nil, failure.message end
    local out = {}
    for i, sample in ipairs(vector) do out[i] = { Labels = sample.labels, Value = sample.value } end
    return out
  end
  return engine
end

--- The longest that any incident looks back: resolved series are kept as long as that.
local function keep_resolved(rules)
  local longest = 900
  for _, def in pairs(rules.incidents) do longest = math.max(longest, def.within + 60) end
  for _, set in ipairs { rules.signals, rules.forecasts, rules.predictions } do
    for _, def in pairs(set) do def.keep_resolved = longest end
  end
  for _, alert in pairs(rules.alerts) do
    for _, rule in ipairs(alert.rules) do rule.keep_resolved = longest end
  end
end

--- A ceiling for a playbook that is not there holds for nothing: perhaps a slip of the pen.
local function warn_of_ceilings(values, rules)
  local declared = check.names(rules.playbooks)
  for _, pattern in ipairs(check.names(values.guardrails.trust.playbooks)) do
    local found = false
    for _, name in ipairs(declared) do found = found or fits(name, pattern) end
    if not found then
      log.warn('guardrails.trust.playbooks names a playbook that is not declared',
        { playbook = pattern, nearest = check.nearest(pattern, declared) })
    end
  end
end

local Generation = {}
Generation.__index = Generation

--- Forgets what belongs to declarations that are gone; tells what has changed.
function Generation:settle()
  local engine, store = self.engine, self.engine.store
  local row = store:row "select value from settings where name = 'inventory'"
  local before, after = row and json.decode(row.value) or {}, inventory(engine.rules)
  local changes = log_changes(before, after)
  local known = {}
  for _, job in ipairs(scheduler.jobs(engine.rules)) do known[job.name] = true end
  for _, group in ipairs(engine.rules.groups) do
    for _, rule in ipairs(group.rules) do known[rule.key] = true end
  end
  store:transaction(function()
    groups.prune(engine, known)
    for _, signal in ipairs(store:rows 'select name from signals') do
      if not known[signal.name] then
        store:exec('delete from signals where name = ?', signal.name)
      end
    end
    models.prune(store, engine.rules.signals)
    forecasts.prune(store, engine.rules.forecasts)
    quorum.tighten(engine)
    slack_inbox.prune(store)
    slack_outbox.prune(store)
    store:exec("insert or replace into settings (name, value) values ('inventory', ?)",
      json.encode(after))
    if changes > 0 then
      audit.append(store, 'rules_active', { digest = self.digest, changes = changes })
    end
  end)
  incidents.retire(engine)
end

--- Becomes the one that evaluates and answers.
---@param first boolean  the process has just started
function Generation:activate(first)
  local engine, values = self.engine, self.engine.config
  log.setup(values.log.level, values.log.format == 'json')
  metrics.dry_run:set(values.guardrails.dry_run and 1 or 0)
  self:settle()
  warn_of_ceilings(values, engine.rules)
  if first then
    local found = recovery.run(engine)
    if found.unknown + found.continued > 0 then log.warn('recovered after a restart', found) end
    if values.guardrails.dry_run then
      log.warn 'dry run: actions are only told of; guardrails.dry_run switches it off'
    end
  end
  self.scheduler = scheduler.start(engine)
  engine.poke = function() self.scheduler:poke() end
  self.socket_mode = socket_mode.start(engine)
end

--- Lets what is under way end and begins nothing new.
function Generation:deactivate()
  self.engine.stopping = true
  self.scheduler:stop()
  self.socket_mode:stop()
end

function Generation:kill(who) guardrails.set_kill_switch(self.engine, true, who) end

--- Called by the daemon in a fresh state. Returns the generation, or nil and what is wrong.
---@param path string       of perigee.yaml
---@param active? string    the digest of the generation that is active
---@return table? generation
---@return string[]? problems  empty when nothing has changed
---@return string? kind        of what is wrong: "config", "rules" or "start"
function generation.build(path, active)
  -- Nearly all that is made here stays; what does not goes with the first cycle.
  collectgarbage 'stop'
  local read, problems, kind = generation.read(path)
  collectgarbage 'restart'
  if not read then return nil, problems, kind end
  if read.digest == active then return nil, {}, 'unchanged' end
  local values = read.config
  local made, why = file.make_folder(values.data_dir)
  if not made then return nil, { 'data_dir: ' .. why }, 'start' end
  local public = values.slack and values.slack.listen
  local store, message = daemon.prepare { data_dir = values.data_dir, host = values.listen.host,
    port = values.listen.port, slack_host = public and public.host,
    slack_port = public and public.port, max_body = values.limits.max_body,
    max_connections = values.limits.max_connections,
    drain = values.drain }
  if not store then return nil, { message }, 'start' end
  keep_resolved(read.rules)
  local self = setmetatable({ digest = read.digest, engine = new_engine(read, store) }, Generation)
  self.engine.rules.loaded_at = clock.now()
  self.handle = routes.handler(self.engine)
  return self
end

return generation
