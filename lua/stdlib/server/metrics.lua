--- /metrics: what is measured as it happens, and what is measured when somebody asks.
local audit = require 'engine.audit'
local daemon = require 'perigee.daemon'
local guardrails = require 'engine.guardrails'
local metrics = require 'engine.metrics'
local scheduler = require 'engine.scheduler'
local storm = require 'engine.storm'
local trust = require 'engine.trust'

local scrape = {}

local TEXT = 'text/plain; version=0.0.4; charset=utf-8'
local OPENMETRICS = 'application/openmetrics-text; version=1.0.0; charset=utf-8'

local last_instructions = {} -- of each cell, when it was asked last: the counter adds what is new

local function measure_cells(rules)
  local memory = 0
  for _, file in ipairs(rules.files) do
    local held, instructions = 0, 0
    if file.cell then held, instructions = file.cell:usage() end
    memory = memory + held
    metrics.instructions:add(instructions - (last_instructions[file.path] or 0), file.path)
    last_instructions[file.path] = instructions
  end
  metrics.memory:set(memory)
  metrics.engine_memory:set(collectgarbage 'count' * 1024)
end

--- Whether a client likes OpenMetrics better than the text format, by the q of its Accept header.
local function wants_openmetrics(accept)
  local best = { openmetrics = 0, text = 0 }
  for range in accept:lower():gmatch '[^,]+' do
    local kind = range:match '^%s*([^;%s]+)'
    local q = tonumber(range:match ';%s*q=([%d.]+)') or 1
    if kind == 'application/openmetrics-text' then
      best.openmetrics = math.max(best.openmetrics, q)
    elseif kind == 'text/plain' or kind == 'text/*' then
      best.text = math.max(best.text, q)
    end
  end
  return best.openmetrics > 0 and best.openmetrics >= best.text
end

local function measure_trust(engine)
  metrics.storm:set(storm.view(engine).on and 1 or 0)
  metrics.trust_lost:clear()
  metrics.breaker_open:clear()
  for _, t in ipairs(trust.list(engine)) do
    metrics.trust_lost:set(t.lost_at and 1 or 0, t.playbook)
    metrics.breaker_open:set(t.breaker == 'open' and 1 or 0, t.playbook)
  end
end

--- The metrics in the format that the client asks for.
---@return string content_type
---@return string text
function scrape.expose(engine, accept)
  scheduler.measure(engine)
  measure_cells(engine.rules)
  metrics.kill_switch:set(guardrails.killed(engine.config) and 1 or 0)
  measure_trust(engine)
  local head, records = audit.head(engine.store)
  metrics.audit_records:set(records)
  metrics.audit_head:clear()
  metrics.audit_head:set(1, head)
  daemon.measure()
  local openmetrics = wants_openmetrics(accept)
  return openmetrics and OPENMETRICS or TEXT, metrics.expose(openmetrics)
end

return scrape
