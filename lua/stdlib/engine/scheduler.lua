--- What is due, every few seconds: evaluations on a fixed grid, plans whose time has come,
--- incidents that are over. The grid of a job comes from its name, so that a hundred rules do not
--- all ask at once, and the time that is evaluated is the grid's, not that of the clock when it was
--- got to.
local alerts = require 'engine.alerts'
local approvals = require 'engine.approvals'
local async = require 'async'
local audit = require 'engine.audit'
local clock = require 'perigee.clock'
local evaluate = require 'engine.evaluate'
local execute = require 'engine.execute'
local forecasts = require 'engine.forecasts'
local groups = require 'engine.groups'
local hash = require 'perigee.hash'
local heap = require 'heap'
local incidents = require 'engine.incidents'
local log = require 'log'
local metrics = require 'engine.metrics'
local notify = require 'engine.notify'
local playbooks = require 'engine.playbooks'
local plans = require 'engine.plans'
local predictions = require 'engine.predictions'
local silences = require 'engine.silences'
local slack_inbox = require 'engine.slack_inbox'
local slack_outbox = require 'engine.slack_outbox'
local storm = require 'engine.storm'
local triggers = require 'engine.triggers'
local types = require 'detectors.types'

local scheduler = {}

local SWEEP = 1 -- seconds between two looks at plans and incidents
local NEAR_MS = 5000

--- Where on the grid of its interval a job lies, in milliseconds: the same on every machine and
--- after every restart.
local function offset_of(name, every_ms)
  return tonumber(hash.sha256(name):sub(1, 8), 16) % every_ms
end

--- Milliseconds, in which a grid is exact.
local function ms_of(seconds) return math.floor(seconds * 1000 + 0.5) end

--- The latest slot at or before a time, both in milliseconds.
function scheduler.slot(job, now_ms) return now_ms - (now_ms - job.offset_ms) % job.every_ms end

--- A playbook's metric trigger, as a signal whose every sample is an anomaly, as Prometheus' alerts
--- are.
local function trigger_definition(def)
  local always = { name = 'trigger', judge = function(_, value)
    return { is_anomaly = true, anomaly_score = 1, confidence = 100, reason = types.text(value) }
  end }
  return { name = 'playbook/' .. def.name, query = def.when.query, detector = always,
    hold_for = def.when.hold_for,
    keep_firing_for = 0, labels = {}, annotations = {}, file_digest = def.file_digest }
end

--- The jobs of a set of rules.
---@param rules rules.Set
---@return Job[]
function scheduler.jobs(rules)
  local jobs = {}
  local function add(name, rule, every, query, def, done)
    local every_ms = ms_of(every)
    jobs[#jobs + 1] = { name = name, rule = rule, every = every, query = query, def = def,
      done = done, every_ms = every_ms, offset_ms = offset_of(name, every_ms) }
  end
  for name, def in pairs(rules.signals) do
    add(name, 'signal/' .. name, def.every, def.query, def)
  end
  for name, def in pairs(rules.forecasts) do
    add(name, 'forecast/' .. name, def.every, def.query, def)
    jobs[#jobs].look = forecasts.look
  end
  for name, def in pairs(rules.predictions) do
    add(name, 'prediction/' .. name, def.every, nil, def)
    jobs[#jobs].look = predictions.look
  end
  for _, group in ipairs(rules.groups) do
    add(group.key, ('group/%s/%s'):format(group.file:match '[^/]+$', group.name), group.every, nil,
      group)
    local job = jobs[#jobs]
    job.evaluate, job.read, job.alerts = groups.evaluate, groups.read_state, groups.alerts(group)
  end
  for name, def in pairs(rules.playbooks) do
    if def.when.kind == 'metric' then
      add('playbook/' .. name, 'playbook/' .. name, def.when.every, def.when.query,
        trigger_definition(def),
        function(engine, state) playbooks.consider_firing(engine, def, state) end)
    end
  end
  table.sort(jobs, function(a, b) return a.name < b.name end)
  return jobs
end

--- The incidents that each signal is part of.
local function incidents_of(rules)
  local by_signal = {}
  for _, def in pairs(rules.incidents) do
    for _, name in ipairs(def.signals) do
      by_signal[name] = by_signal[name] or {}
      table.insert(by_signal[name], def)
    end
  end
  return by_signal
end

local OF_SERIES = { signal = true, forecast = true, prediction = true }

--- The playbooks that each signal, forecast or prediction is itself the trigger of.
local function playbooks_of(rules)
  local by_signal = {}
  for _, def in pairs(rules.playbooks) do
    if OF_SERIES[def.when.kind] then
      by_signal[def.when.name] = by_signal[def.when.name] or {}
      table.insert(by_signal[def.when.name], def)
    end
  end
  return by_signal
end

local Scheduler = {}
Scheduler.__index = Scheduler

--- Calls f; a failure, of ours or of the disk, is told and counted, and no more.
local function guarded(what, f, ...)
  local ok, message = xpcall(f, debug.traceback, ...)
  if ok then return end
  metrics.internal_errors:add(1, what)
  log.error('an internal error', { doing = what, error = message })
end

--- Runs f in a task that is waited for before the generation ends.
function Scheduler:run(what, f, ...)
  self.under_way = self.under_way + 1
  async.spawn(function(...)
    local _ <close> = setmetatable({},
      { __close = function() self.under_way = self.under_way - 1 end })
    guarded(what, f, ...)
  end, ...)
end

local function concerns_incidents(state)
  for _, series in pairs(state.series or {}) do
    if series.firing_from then return true end
  end
  return false
end

--- What comes of an evaluation: the trigger of a playbook, or incidents and their plans.
function Scheduler:conclude(job, state)
  if job.done then return job.done(self.engine, state) end
  for _, def in ipairs(self.playbooks_of[job.name] or {}) do
    playbooks.consider_firing(self.engine, def, state)
  end
  if concerns_incidents(state) then
    for _, name in ipairs(job.alerts or { job.name }) do
      for _, def in ipairs(self.incidents_of[name] or {}) do
        incidents.converge(self.engine, def)
      end
    end
    self:look_at_plans()
  end
end

function Scheduler:evaluate(job, slot)
  local _ <close> = setmetatable({}, { __close = function() job.running = nil end })
  local state = (job.evaluate or evaluate.run)(self.engine, job, slot)
  -- When a reload came meanwhile, the generation that is active now concludes, by its own rules.
  if state and not self.stopping then self:conclude(job, state) end
end

--- The process may have ended between an evaluation and what comes of it: what fires is offered to
--- its playbooks at once, not with the next evaluation. Nobody is asked twice.
function Scheduler:catch_up()
  for _, job in ipairs(self.jobs) do
    if not job.awaited and (job.done or self.playbooks_of[job.name]) then
      local state = evaluate.read_state(self.engine, job)
      if job.done then job.done(self.engine, state) end
      for _, def in ipairs(self.playbooks_of[job.name] or {}) do
        playbooks.consider_firing(self.engine, def, state)
      end
    end
  end
end

--- Concludes what the generation before was still evaluating, once it has.
function Scheduler:take_over()
  for _, job in ipairs(self.jobs) do
    if job.awaited and select(2, evaluate.slots(self.engine, job)) >= job.awaited then
      job.awaited = nil
      self:conclude(job, (job.read or evaluate.read_state)(self.engine, job))
    end
  end
end

function Scheduler:look_at_plans()
  local engine = self.engine
  playbooks.consider_all(engine)
  triggers.look(engine)
  for _, p in ipairs(plans.due(engine.store, clock.now())) do
    if not self.stepping[p.id] then
      self.stepping[p.id] = true
      self:run('a plan', function()
        local _ <close> = setmetatable({}, { __close = function() self.stepping[p.id] = nil end })
        execute.step(engine, p)
      end)
    end
  end
end

--- Incidents whose signals tell nothing new any more still have to end.
function Scheduler:converge_active()
  local done = {}
  for _, incident in ipairs(incidents.active(self.engine.store)) do
    local def = self.engine.rules.incidents[incident.name]
    if def and not done[def] then
      done[def] = true
      incidents.converge(self.engine, def)
    end
  end
end

--- The head of the audit trail goes into the log, which mostly leaves the machine: to a head noted
--- elsewhere every edit of the trail shows.
function Scheduler:tell_head()
  local head, records = audit.head(self.engine.store)
  if head == self.told_head then return end
  self.told_head = head
  log.info('audit trail', { head = head, records = records })
end

--- What people have said in Slack, and what they are to be told.
function Scheduler:talk()
  slack_inbox.process(self.engine)
  slack_outbox.deliver(self.engine)
end

function Scheduler:sweep()
  local engine = self.engine
  approvals.expire(engine)
  approvals.supersede(engine)
  storm.look(engine)
  self:converge_active()
  self:take_over()
  self:look_at_plans()
  notify.deliver(engine)
  alerts.expire(engine)
  silences.keep(engine)
  approvals.remind(engine)
  self:talk()
  self:tell_head()
end

--- Begins every job whose slot has come and was not taken. Returns the time of the next one.
function Scheduler:start_due(now)
  local now_ms, job = ms_of(now), self.due:first()
  while job and job.due_ms <= now_ms do
    local slot = scheduler.slot(job, now_ms)
    if not job.running then -- else this one is left out, not queued; who claims the next counts it
      job.running = true
      self:run('an evaluation', self.evaluate, self, job, slot / 1000)
    end
    job.due_ms = slot + job.every_ms
    self.due:first_changed()
    job = self.due:first()
  end
  return job and job.due_ms / 1000 or math.huge
end

--- Goes on until stop() is called.
function Scheduler:loop()
  guarded('what was left', self.catch_up, self)
  local next_sweep, before = clock.now(), 0
  while not self.stopping do
    local now = clock.now()
    if now < before then self:resume(now) end -- the clock was set back
    before = now
    local next_due = self:start_due(now)
    if now >= next_sweep or next_sweep > now + SWEEP then -- or the clock was set back
      guarded('the sweep', self.sweep, self)
      next_sweep = now + SWEEP
    end
    metrics.queue:set(self.under_way)
    self.wake:clear()
    self.wake:wait(math.max(0, math.min(next_due, next_sweep) - clock.now()))
  end
end

--- Tells what came of a decision at once, not with the next sweep.
function Scheduler:poke()
  self:run('plans', function()
    self:talk()
    self:look_at_plans()
  end)
end

function Scheduler:stop()
  self.stopping = true
  triggers.stop(self.engine)
  self:tell_head()
  self.wake:set()
end

--- When a job is due first. What the store says was the last slot goes on without a gap: nothing is
--- evaluated twice, and what fell due in a reload is evaluated at once. A job that was never
--- evaluated, or not for a while, or by a clock that has been set back since, begins with the slot
--- before now, unless the next one is near anyway.
local function first_due(job, claimed_ms, now_ms)
  local slot = scheduler.slot(job, now_ms)
  if claimed_ms > 0 and claimed_ms <= now_ms + job.every_ms then
    local due = scheduler.slot(job, claimed_ms) + job.every_ms
    if due >= slot then return due end
  end
  local next_slot = slot + job.every_ms
  return next_slot - now_ms > NEAR_MS and slot or next_slot
end

--- Finds out when each job is due.
function Scheduler:resume(now)
  self.due = heap.new 'due_ms'
  for _, job in ipairs(self.jobs) do
    local claimed, evaluated = evaluate.slots(self.engine, job)
    job.due_ms = first_due(job, ms_of(claimed), ms_of(now))
    job.awaited = claimed > evaluated and claimed or nil
    self.due:push(job)
  end
end

--- Starts evaluating.
---@param engine table
---@return table scheduler  :poke(), :stop()
function scheduler.start(engine)
  local self = setmetatable({ engine = engine, jobs = scheduler.jobs(engine.rules),
    under_way = 0, stepping = {},
    incidents_of = incidents_of(engine.rules), playbooks_of = playbooks_of(engine.rules),
    wake = async.event() }, Scheduler)
  --- Runs f in a task of its own, that is waited for as evaluations are.
  function engine.run(what, f, ...) self:run(what, f, ...) end
  self:resume(clock.now())
  triggers.start(engine)
  async.spawn(self.loop, self)
  return self
end

--- Gauges that are drawn anew for each scrape.
function scheduler.measure(engine)
  metrics.alerts:clear()
  local count = { firing = 0, pending = 0, inactive = 0 }
  for _, job in ipairs(scheduler.jobs(engine.rules)) do
    for _, series in pairs((job.read or evaluate.read_state)(engine, job).series or {}) do
      count[series.state] = count[series.state] + 1
    end
  end
  for state, n in pairs(count) do metrics.alerts:set(n, state) end
  forecasts.measure(engine)
  predictions.measure(engine)
  metrics.incidents:clear()
  for _, state in ipairs { 'open', 'acknowledged', 'mitigating' } do
    metrics.incidents:set(engine.store:row('select count(*) as n from incidents where state = ?',
      state).n, state)
  end
  metrics.rules_off:set(
    engine.store:row('select count(*) as n from rule_faults where switched_off_at is not null').n)
end


return scheduler
