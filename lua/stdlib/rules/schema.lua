--- What a declaration may hold. Turns what a cell declared into definitions that the engine runs,
--- and collects everything that is wrong, each with the path of the field it is about.
local check = require 'check'
local forecast = require 'rules.forecast'
local hash = require 'perigee.hash'
local json = require 'perigee.json'
local levels = require 'levels'
local plan = require 'engine.plan'
local prediction = require 'rules.prediction'
local template = require 'template'
local triggers = require 'rules.triggers'
local units = require 'units'
local vocabulary = require 'rules.vocabulary'

local schema = {}

local LABEL = '^[%a_][%w_]*$'

local MAX_SAMPLES = 100000 -- of a history
local MAX_REASON = 1000    -- bytes: one is kept for each series

-- -- values that several declarations have --------------------------------------------------------

-- A rule can write by hand what its words build, and anything like it: nothing here may trust that
-- what looks like a function, a detector or a reference is one.
local function is_function(v)
  return type(v) == 'table' and v.kind == 'function' and math.type(v.id) == 'integer'
end

local function function_or(what, test)
  return { test = function(v)
    if is_function(v) then return end
    local message, better, nested = test(v)
    if message and not nested then message = check.expected(what, v) end
    return message, better, nested
  end }
end

local function data_of(v, kind) return type(v) == 'table' and v.kind == kind end

local function template_rule()
  return { test = function(v)
    if type(v) ~= 'string' then return check.expected('a text', v) end
    if not v:find('{{', 1, true) then return nil, { expand = function() return v end } end
    local compiled, message = template.compile(v)
    if not compiled then
      return message.message, nil, { { path = {}, message = message.message, at = message } }
    end
    return nil, compiled
  end }
end

--- A map of templates, whose problems keep their place inside the text.
local function templates()
  local rule = template_rule()
  return { default = {}, test = function(v)
    if type(v) ~= 'table' or #v > 0
      or is_function(v) then return check.expected('a table of names and texts', v) end
    local out, problems = {}, {}
    for name, text in pairs(v) do
      local message, better, nested = rule.test(text)
      if type(name) ~= 'string' or not name:match(LABEL) or name == '__name__' then
        problems[#problems + 1] = { path = { name },
          message = ('"%s" is not a valid label name'):format(tostring(name)) }
      elseif message then
        problems[#problems + 1] = { path = { name }, message = message,
          at = nested and nested[1].at }
      else
        out[name] = better
      end
    end
    table.sort(problems, function(a, b) return tostring(a.path[1]) < tostring(b.path[1]) end)
    if #problems > 0 then return 'invalid', nil, problems end
    return nil, out
  end }
end

-- -- detectors ------------------------------------------------------------------------------------

local function prefixed(problems, ...)
  local head, out = { ... }, {}
  for i, p in ipairs(problems) do
    local path = table.move(p.path, 1, #p.path, #head + 1, { table.unpack(head) })
    out[i] = { path = path, message = p.message, at = p.at }
  end
  return out
end

local build_detector

--- Detectors inside a detector's options (combine's), built first.
local function build_parts(options, ctx, problems)
  local out = {}
  for name, value in pairs(options) do
    if type(value) == 'table' and not value.kind then
      local list = {}
      for i, item in pairs(value) do
        if data_of(item, 'detector') or is_function(item) then
          local built, wrong = build_detector(item, ctx)
          for _, p in ipairs(prefixed(wrong, name, i)) do problems[#problems + 1] = p end
          list[i] = built
        else
          list[i] = item
        end
      end
      out[name] = list
    else
      out[name] = value
    end
  end
  return out
end

--- The verdict that a rule's own function has given: true or false, or the whole of it.
local function own_verdict(result, value)
  if type(result) == 'boolean' then
    return { is_anomaly = result, anomaly_score = result and 1 or 0, confidence = 100,
      reason = ('%s is %s'):format(units.number_text(value), result and 'odd, says the rule'
      or 'fine, says the rule') }
  end
  if type(result) ~= 'table' or type(result.is_anomaly) ~= 'boolean' then
    return nil, check.expected(
      'true, false or { is_anomaly = …, anomaly_score = …, confidence = …, reason = … }', result)
  end
  local score, confidence = result.anomaly_score, result.confidence
  if score ~= nil and (type(score) ~= 'number' or score ~= score
    or math.abs(score) == math.huge) then
    return nil, 'anomaly_score: ' .. check.expected('a finite number', score)
  end
  if confidence ~= nil and not (type(confidence) == 'number' and confidence >= 0
    and confidence <= 100) then
    return nil, 'confidence: ' .. check.expected('a number from 0 to 100', confidence)
  end
  local reason = result.reason == nil and 'says the rule' or result.reason
  if type(reason) ~= 'string' or #reason > MAX_REASON then
    return nil, ('reason: expected a text of at most %d bytes'):format(MAX_REASON)
  end
  return { is_anomaly = result.is_anomaly, anomaly_score = score or (result.is_anomaly and 1 or 0),
    confidence = confidence or 100, reason = reason }
end

--- A rule's own function as a detector. It is called in its cell, with the value and what is known
--- of it, and returns whether it is odd.
local function own_function(value, ctx)
  local call = ctx.callable(value)
  return { name = 'function', options = {}, calls_rule = true, judge = function(_, x, time, labels)
    local result, fault = call(x, { labels = labels, time = time })
    if fault then return nil, fault end
    local verdict, message = own_verdict(result, x)
    if not verdict then
      return nil, { kind = 'error', file = ctx.file, line = ctx.line,
        message = 'the detector returned: ' .. message }
    end
    return verdict
  end }
end

local KNOWN = {}
for _, name in ipairs(vocabulary.detectors) do KNOWN[name] = true end

function build_detector(value, ctx)
  if is_function(value) then return own_function(value, ctx), {} end
  if not data_of(value, 'detector') or not KNOWN[value.name] then
    return nil, { { path = {},
      message = check.expected('a detector such as threshold { above = 5 }, or a function',
        value) } }
  end
  local options = value.options == nil and {} or value.options
  if type(options) ~= 'table' or options.kind then
    return nil, { { path = {},
      message = ('%s: %s'):format(value.name, check.expected('a table of options', options)) } }
  end
  local problems = {}
  local factory = require('detectors.' .. value.name)
  local parts = build_parts(options, ctx, problems)
  if #problems > 0 then return nil, problems end
  local o, wrong = check.apply(parts, factory.spec)
  if #wrong > 0 then
    for _, p in ipairs(wrong) do p.message = ('%s: %s'):format(value.name, p.message) end
    return nil, wrong
  end
  local ok, detector = pcall(factory.build, o)
  if not ok then
    return nil, { { path = {}, message = ('%s: %s'):format(value.name, detector) } }
  end
  return detector, {}
end

local function detector_rule(ctx)
  return { required = true, test = function(v)
    local built, problems = build_detector(v, ctx)
    if not built then return 'invalid', nil, problems end
    return nil, built
  end }
end

--- What the learned models of a signal depend on: when it is the same, they still fit.
local function model_digest(body, declaration, ctx, detector)
  local function plain(v)
    if type(v) ~= 'table' then return v end
    if is_function(v) then return ctx.file_digest end -- a function is as new as its file
    local out = {}
    for k, item in pairs(v) do
      if k ~= 'line' then out[tostring(k)] = plain(item) end
    end
    return out
  end
  return hash.sha256(json.encode { query = body.query, detector = plain(body.detector),
    name = declaration.name, options = detector.options })
end

-- -- declarations ---------------------------------------------------------------------------------

--- How often a label's text uses the value: each change would make a new alert of it.
local function warn_value_in_labels(body)
  local warnings = {}
  for name, text in pairs(type(body.labels) == 'table' and body.labels or {}) do
    if type(text) == 'string' and text:find('{{[^}]*[$.][vV]alue') then
      warnings[#warnings + 1] = { path = { 'labels', name },
        message = 'the value is part of this label: each new value is a new alert, and hold_for '
          .. 'starts again' }
    end
  end
  return warnings
end

--- The labels that are the same for every series.
local function constant_labels(labels)
  local out = {}
  for name, text in pairs(labels or {}) do
    if not text:find('{{', 1, true) then out[name] = text end
  end
  return out
end

--- What keeps a detector from ever having a baseline, or makes it too dear; or nil.
local function wrong_history(detector)
  local h, least = detector.history, detector.options.min_samples or 1
  if not h then return end
  local n = h.range // h.step
  if n > MAX_SAMPLES then
    return ('history / step is %d samples a series; at most %d'):format(n, MAX_SAMPLES)
  elseif n < least then
    return ('history / step is %d samples a series; at least %d are needed'):format(n, least)
  end
end

local function signal(declaration, ctx)
  local body = declaration.body
  local def, problems = check.apply(body, {
    query = check.required(check.string()),
    every = { default = ctx.every, test = check.duration(nil, { min = 1 }).test },
    detector = detector_rule(ctx),
    hold_for = check.duration '0',
    keep_firing_for = check.duration '0',
    labels = templates(),
    annotations = templates(),
  })
  local message = #problems == 0 and wrong_history(def.detector)
  if message then problems[1] = { path = { 'detector' }, message = message } end
  if #problems == 0 then
    def.model_digest = model_digest(body, declaration, ctx, def.detector)
    def.constant_labels = constant_labels(body.labels)
  end
  return def, problems, warn_value_in_labels(body)
end

local function text_or_function(ctx)
  local rule = function_or('a text or a function', check.string().test)
  return { test = function(v)
    local message = rule.test(v)
    if message then return message end
    if is_function(v) then return nil, ctx.callable(v) end
    return nil, function() return v end
  end }
end

local function incident(declaration, ctx)
  local def, problems = check.apply(declaration.body, {
    signals = check.required(check.list_of(check.string())),
    min_signals = check.number(2, { min = 1, integer = true }),
    within = check.duration '5m',
    group_by = check.list_of({ test = function(v)
      if type(v) ~= 'string' or not v:match(LABEL) then
        return check.expected('the name of a label', v)
      end
    end }, {}),
    reopen_within = check.duration '10m',
    recommend = text_or_function(ctx),
    labels = check.map_of(check.string(), LABEL, {}),
  })
  local seen, n = {}, 0
  for i, name in ipairs(type(def.signals) == 'table' and def.signals or {}) do
    if seen[name] then
      problems[#problems + 1] = { path = { 'signals', i },
        message = ('"%s" is there twice'):format(tostring(name)) }
    else
      seen[name], n = true, n + 1
    end
  end
  if #problems == 0 and def.min_signals > n then
    local set = declaration.body.min_signals ~= nil
    local message = ('min_signals is %d%s, more than the number of signals, %d'):format(
      def.min_signals, set and '' or ' unless it is set', n)
    problems[1] = { path = { set and 'min_signals' or 'signals' }, message = message }
  end
  return def, problems, {}
end

-- -- playbooks ------------------------------------------------------------------------------------

--- `limit = { 2, per = "1h" }`
local function limit_rule()
  return { test = function(v)
    local n, per = type(v) == 'table' and v[1], type(v) == 'table' and units.duration(v.per)
    if math.type(n) ~= 'integer' or n < 1 or not per or per <= 0 then
      return check.expected('a number of runs and a time: { 2, per = "1h" }', v)
    end
    for key in pairs(v) do
      if key ~= 1 and key ~= 'per' then return check.unknown('option', key, { 'per' }) end
    end
    return nil, { count = n, per = per }
  end }
end

local function plan_rule(ctx)
  return { test = function(v)
    if is_function(v) then return nil, ctx.callable(v) end
    if type(v) ~= 'table' then return check.expected('a function or a list of actions', v) end
    local _, problems = plan.actions(v)
    if #problems > 0 then return 'invalid', nil, problems end
    return nil, function() return v end
  end }
end

local function playbook(declaration, ctx)
  local body = declaration.body
  local def, problems = check.apply(body, {
    when = triggers.rule(ctx),
    trust = check.one_of('manual_only', levels.NAMES),
    cooldown = check.duration '0',
    limit = limit_rule(),
    approval_expires = check.duration('15m', { min = 1 }),
    approval = check.table_of({
      quorum = check.number(1, { min = 1, max = 100, integer = true }),
      group = check.string(),
      remind = check.duration(),
    }, {}),
    plan = plan_rule(ctx),
  })
  if body.when == nil then problems[1].message = 'option "when" is missing: what makes it run?' end
  if body.plan == nil and def.trust ~= 'manual_only' then
    problems[#problems + 1] = { path = {},
      message = 'option "plan" is missing: what should it do?' }
  end
  def.is_static = body.plan ~= nil and not is_function(body.plan)
  return def, problems, {}
end

--- A policy is one function. Its words make it: what else it may hold was checked there.
local function policy(declaration, ctx)
  return { decide = ctx.callable(declaration.body.decide) }, {}, {}
end

--- A forecast or a prediction, each a signal for whoever names it.
local function like_a_signal(read)
  return function(declaration, ctx)
    local def, problems = read(declaration, ctx,
      { templates = templates, is_function = is_function })
    def.constant_labels = #problems == 0 and constant_labels(declaration.body.labels) or nil
    return def, problems, warn_value_in_labels(declaration.body)
  end
end

local READERS = { signal = signal, incident = incident, playbook = playbook, policy = policy,
  forecast = like_a_signal(forecast), prediction = like_a_signal(prediction.read) }

---@class schema.Context
---@field every number           seconds between evaluations where a declaration says nothing
---@field file string, line integer   of the declaration
---@field file_digest string
---@field callable fun(f: table): fun(...): any, table?  a rule's function as the engine calls it:
---       its result, or nil and the fault; thirdly its second result

-- What other systems call it, and what it is called here.
local MEANT = { ['for'] = 'hold_for', duration = 'hold_for', expr = 'query', interval = 'every',
  severity = 'labels = { severity = … }', summary = 'annotations = { summary = … }',
  description = 'annotations = { description = … }', trigger = 'when', trust_level = 'trust',
  action = 'plan = { … }', actions = 'plan' }

local function explain(problems)
  for _, p in ipairs(problems) do
    local meant = #p.path == 1 and MEANT[p.path[1]]
    if meant and p.message:find '^unknown option' then
      p.message = ('unknown option "%s"; here it is %s'):format(p.path[1], meant)
    end
  end
end

--- The definition of one declaration and what is wrong with it.
---@param declaration { kind: string, name: string, file: string, line: integer, body: table }
---@param ctx schema.Context
---@return table definition
---@return check.Problem[] problems  at = { line, column } inside the field's text, where known
---@return check.Problem[] warnings
function schema.read(declaration, ctx)
  local def, problems, warnings = READERS[declaration.kind](declaration, ctx)
  explain(problems)
  def.texts = { labels = declaration.body.labels, annotations = declaration.body.annotations }
  def.kind, def.name, def.file, def.line = declaration.kind, declaration.name, declaration.file,
    declaration.line
  return def, problems, warnings
end

return schema
