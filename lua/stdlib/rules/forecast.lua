--- What a forecast's declaration may hold.
local check = require 'check'
local expression = require 'rules.expression'
local forecasting = require 'forecasting'
local hash = require 'perigee.hash'
local json = require 'perigee.json'

local MAX_SAMPLES = 100000 -- of a history

--- What alert_when can ask for; never is infinite.
local NAMES = { 'days_until_threshold', 'days_10', 'days_50', 'days_90', 'probability',
  'predicted_max', 'predicted_min', 'current_value', 'threshold' }

-- What makes no sense where there is no threshold.
local OF_THRESHOLD = { days_until_threshold = true, days_10 = true, days_50 = true, days_90 = true,
  probability = true, threshold = true }

--- What a model depends on: when it is the same, what was forecast still holds.
local MODEL = { 'query', 'history', 'horizon', 'step', 'seasonality', 'threshold', 'direction',
  'model', 'growth', 'cap', 'floor', 'timezone' }

local function seasonality_rule()
  local names = check.one_of(nil, forecasting.SEASONS)
  return { default = { 'daily', 'weekly' }, test = function(v)
    if type(v) ~= 'table' or v.kind == 'function' then
      return check.expected('a list such as { "daily", "weekly" }', v)
    end
    local out, problems = {}, {}
    for key, value in pairs(v) do
      local name = math.type(key) == 'integer' and value or key
      local message = names.test(name)
      if not message and name == key and type(value) ~= 'boolean' then
        message = check.expected('true or false', value)
      end
      if message then
        problems[#problems + 1] = { path = { key }, message = message }
      elseif value then
        out[#out + 1] = name
      end
    end
    if #problems > 0 then return 'invalid', nil, problems end
    table.sort(out)
    return nil, out
  end }
end

--- A text, read by rules/expression, or the rule's own function.
local function alert_rule(ctx, shared)
  return { test = function(v)
    if shared.is_function(v) then
      local call = ctx.callable(v)
      return nil, { holds = function(values, about)
        local result, fault = call(values, about)
        if fault then return nil, fault end
        if type(result) ~= 'boolean' then
          return nil, { kind = 'error', file = ctx.file, line = ctx.line,
            message = 'alert_when returned: ' .. check.expected('true or false', result) }
        end
        return result
      end, used = {} }
    end
    if type(v) ~= 'string' then
      return check.expected('a condition such as "days_until_threshold < 3", or a function', v)
    end
    local holds, found = expression.compile(v, NAMES)
    if not holds then
      return found.message, nil, { { path = {}, message = found.message, at = found } }
    end
    return nil, { holds = holds, used = found }
  end }
end

local function spec(ctx, shared)
  return {
    query = check.required(check.string()),
    every = check.duration('1h', { min = 1 }),
    history = check.duration('30d', { min = 60 }),
    horizon = check.duration('7d', { min = 1 }),
    step = check.duration('1h', { min = 1 }),
    seasonality = seasonality_rule(),
    threshold = check.number(),
    direction = check.one_of('above', { 'above', 'below' }),
    model = check.one_of('auto', { 'auto', 'prophet' }),
    growth = check.one_of('linear', { 'linear', 'logistic', 'flat' }),
    cap = check.number(), floor = check.number(),
    timezone = check.string 'UTC',
    unit = check.string(),
    alert_when = alert_rule(ctx, shared),
    hold_for = check.duration '0',
    keep_firing_for = check.duration '0',
    labels = shared.templates(),
    annotations = shared.templates(),
  }
end

--- What only shows when all options are seen together.
local function together(def)
  local field, message = forecasting.refuse(def)
  if field then return field, message end
  local samples = def.history // def.step
  if samples > MAX_SAMPLES then
    return 'history', ('history / step is %d samples a series; at most %d'):format(samples,
      MAX_SAMPLES)
  elseif samples < forecasting.MIN_SAMPLES then
    return 'history', ('history / step is %d samples a series; at least %d are needed'):format(
      samples, forecasting.MIN_SAMPLES)
  end
  for name in pairs(not def.threshold and def.alert_when and def.alert_when.used or {}) do
    if OF_THRESHOLD[name] then
      return 'alert_when', ('"%s" needs the option "threshold"'):format(name)
    end
  end
end

local function digest(def, name_of)
  local parts = { name = name_of }
  for _, name in ipairs(MODEL) do parts[name] = def[name] end
  return hash.sha256(json.encode(parts))
end

---@param declaration table
---@param ctx schema.Context
---@param shared { templates: fun(): check.Rule, is_function: fun(v): boolean }
---@return table definition
---@return check.Problem[] problems
return function(declaration, ctx, shared)
  local def, problems = check.apply(declaration.body, spec(ctx, shared))
  if #problems == 0 then
    local field, message = together(def)
    if field then problems[1] = { path = { field }, message = message } end
  end
  def.model_digest = #problems == 0 and digest(def, declaration.name) or nil
  return def, problems
end
