--- What a prediction's declaration may hold, and whether its model fits it.
local check = require 'check'
local file = require 'perigee.file'
local model_file = require 'prediction.model'
local policy = require 'prediction'

local LABEL = '^[%a_][%w_]*$'

local function probability(default) return check.number(default, { min = 0, max = 1 }) end

local function spec(ctx, shared)
  return {
    features = check.required(check.map_of(check.string())),
    model = check.required(check.string()),
    every = { default = ctx.every, test = check.duration(nil, { min = 1 }).test },
    levels = check.table_of({ critical = probability(policy.LEVELS.critical),
      high = probability(policy.LEVELS.high), medium = probability(policy.LEVELS.medium) }),
    alert_level = check.one_of('high', { 'medium', 'high', 'critical' }),
    defaults = check.map_of(check.number(), nil, {}),
    scaler = check.map_of(check.table_of { mean = check.required(check.number()),
      scale = check.required(check.number(nil, { above = 0 })) }),
    order = check.list_of(check.string()),
    group_by = check.list_of { test = function(v)
      if type(v) ~= 'string' or not v:match(LABEL) then
        return check.expected('the name of a label', v)
      end
    end },
    horizon = check.string 'the next hour',
    hold_for = check.duration '0',
    keep_firing_for = check.duration '0',
    labels = shared.templates(),
    annotations = shared.templates(),
  }
end

local prediction = {}

--- Reads a declaration; its model is looked at later, by check_model().
---@param declaration table
---@param ctx schema.Context
---@param shared { templates: fun(): check.Rule }
---@return table definition
---@return check.Problem[] problems
function prediction.read(declaration, ctx, shared)
  local def, problems = check.apply(declaration.body, spec(ctx, shared))
  if #problems > 0 then return def, problems end
  if next(def.features) == nil then
    return def, { { path = { 'features' }, message = 'no feature is named' } }
  end
  def.levels = def.levels or { critical = policy.LEVELS.critical, high = policy.LEVELS.high,
    medium = policy.LEVELS.medium }
  local wrong = policy.wrong_levels(def.levels)
  if wrong then return def, { { path = { 'levels' }, message = wrong } } end
  return def, {}
end

-- -- the model ------------------------------------------------------------------------------------

--- Where the file is: beside the rule file, else beside the configuration.
local function locate(def, folders)
  if def.model:sub(1, 1) == '/' then return def.model end
  local tried = {}
  for _, folder in ipairs(folders) do
    local path = ('%s/%s'):format(folder, def.model):gsub('^%./', '')
    if file.stat(path) then return path end
    tried[#tried + 1] = path
  end
  return nil, ('there is no file %s; "perigee train --prediction %s" writes it'):format(
    table.concat(tried, ', nor '), def.name)
end

local function has(set, name) return set[name] ~= nil end

--- The features that the model has and the declaration lacks, or the other way round.
local function misfits(def, loaded)
  local problems, known = {}, {}
  for _, name in ipairs(loaded.features) do
    known[name] = true
    if not has(def.features, name) and not has(def.defaults, name) then
      problems[#problems + 1] = { path = { 'features' },
        message = ('the model %s has a feature "%s", which is neither here nor in defaults'):format(
          def.path, name) }
    end
  end
  for _, option in ipairs { 'features', 'defaults', 'scaler' } do
    for _, name in ipairs(check.names(def[option] or {})) do
      if not known[name] then
        local near = check.nearest(name, loaded.features)
        problems[#problems + 1] = { path = { option, name },
          message = ('the model %s has no such feature%s'):format(def.path,
            near and ('; did you mean "%s"?'):format(near) or '') }
      end
    end
  end
  return problems
end

--- Loads the model that the definition names, as def.loaded, and says what does not fit.
---@param def table        with path set, where it has been found before
---@param folders string[] in which the file is looked for
---@return check.Problem[] problems
function prediction.check_model(def, folders)
  local message
  if not def.path then
    def.path, message = locate(def, folders)
    if not def.path then return { { path = { 'model' }, message = message } } end
  end
  def.stat = file.stat(def.path)
  local loaded
  loaded, message = model_file.load(def.path, def.order)
  if not loaded then return { { path = { 'model' }, message = message } } end
  if loaded.is_unnamed then
    return { { path = { 'model' }, message = ('%s does not name its features; name them, in its '
      .. 'order, by the option "order"'):format(def.path) } }
  end
  local problems = misfits(def, loaded)
  if #problems == 0 then def.loaded = loaded end
  return problems
end

return prediction
