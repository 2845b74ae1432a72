--- A model with what is kept beside it, and predictions by it. The file is the model's own, so that
--- gradient_boosting.load() reads it too; names, statistics and the report lie in it as a note.
--- Files of XGBoost, LightGBM and scikit-learn have no note and do without.
local file = require 'perigee.file'
local gradient_boosting = require 'gradient_boosting'
local hash = require 'perigee.hash'
local json = require 'perigee.json'
local matrix = require 'matrix'
local prediction = require 'prediction'

local model_file = {}

local BLOCK = 1024 -- rows explained at once
local MOST_BYTES = 1 << 29

---@class model.Loaded
---@field model table
---@field features string[]
---@field meta table        {} without a note
---@field fill number       what stands for a feature that is missing: NaN, or 0
---@field is_unnamed boolean  the features are called f0, f1, … in its order
---@field digest string       of the file

--- A copy that JSON can hold: it has no NaN, so what is not a number is left out.
function model_file.plain(v)
  if type(v) == 'number' then
    if v ~= v or v == math.huge or v == -math.huge then return nil end
    return v
  end
  if type(v) ~= 'table' then return v end
  local out = {}
  for k, item in pairs(v) do out[k] = model_file.plain(item) end
  return #v > 0 and json.array(out) or out
end

--- Writes a model with its note, in place of what is there, at once or not at all.
---@param path string
---@param trained train.Trained
---@return boolean? ok
---@return string? message
function model_file.save(path, trained)
  trained.model:set_note(json.encode { prediction = model_file.plain(trained.meta) })
  return file.write(path, trained.model:serialize())
end

--- scikit-learn's trees know no missing values; its users fill in 0.
local function knows_missing(bytes)
  local head = bytes:sub(1, 65536)
  return not (head:find '^%s*{' and head:find '"scaler"' and head:find '"init')
end

local function numbered(n)
  local out = {}
  for j = 1, n do out[j] = ('f%d'):format(j - 1) end
  return out
end

--- Loads a model of any kind that gradient_boosting.load() reads.
---@param path string
---@param order? string[]  names for the features of a model that has none, in its order
---@return model.Loaded? loaded
---@return string? message
function model_file.load(path, order)
  local bytes, message = file.read(path, MOST_BYTES)
  if not bytes then return nil, message end
  local model
  model, message = gradient_boosting.deserialize(bytes)
  if not model then return nil, ('%s: %s'):format(path, message) end
  if (model.n_classes or 2) > 2 then
    return nil, ('%s: a model of %d classes; a failure comes or does not'):format(path,
      model.n_classes)
  end
  local n = #model.feature_importances
  if order and not model.feature_names and #order ~= n then
    return nil, ('%s: %d names for the %d features of the model'):format(path, #order, n)
  end
  local note = model.note and json.decode(model.note)
  local meta = type(note) == 'table' and type(note.prediction) == 'table' and note.prediction or {}
  local features = model.feature_names or order or numbered(n)
  return { model = model, features = features, meta = meta, digest = hash.sha256(bytes),
    is_unnamed = not model.feature_names and not order,
    fill = knows_missing(bytes) and 0 / 0 or 0 }
end

-- -- predicting -----------------------------------------------------------------------------------

---@class model.Options
---@field levels? table<string, number>
---@field defaults? table<string, number>  stand for features that are missing
---@field scaler? table<string, { mean: number, scale: number }>  what a model of another program
---       expects to have been done to its features
---@field horizon? string

--- The rows as the model takes them: what is missing filled, what it wants scaled done so.
local function prepared(loaded, X, o)
  local defaults, scaler, columns, changed = o.defaults or {}, o.scaler or {}, {}, false
  for j, name in ipairs(loaded.features) do
    local fill, s = defaults[name] or loaded.fill, scaler[name]
    local values = X:column(j)
    if fill == fill or s then
      changed = true
      for i, v in ipairs(values) do
        if v ~= v then v = fill end
        values[i] = s and (v - s.mean) / s.scale or v
      end
    end
    columns[j] = values
  end
  return changed and matrix.from_columns(columns, loaded.features) or X
end

--- Predicts for rows whose columns are the model's features; NaN is missing. Calls f(i, result)
--- for each in order. Waits.
---@param loaded model.Loaded
---@param X matrix.Matrix
---@param o model.Options
---@param f fun(i: integer, result: prediction.Result)
---@return boolean? ok
---@return string? message
function model_file.predict(loaded, X, o, f)
  local names, ready = loaded.features, prepared(loaded, X, o)
  local p, message = loaded.model:predict_proba(ready)
  if not p then return nil, message end
  for _, x in ipairs(p) do
    if not (x >= 0 and x <= 1) then
      return nil, ('the model gives %g, which is no probability: it is one of a regression')
        :format(x)
    end
  end
  local levels = o.levels or prediction.LEVELS
  for first = 1, X.rows, BLOCK do
    local last = math.min(first + BLOCK - 1, X.rows)
    local given = X:slice(first, last):to_rows()
    local why, failed = loaded.model:explain_all(ready:slice(first, last))
    if not why then return nil, failed end
    for k, values in ipairs(given) do
      f(first + k - 1, prediction.result { names = names, values = values,
        probability = p[first + k - 1], contributions = why[k].contributions, levels = levels,
        scaler = loaded.meta.scaler, horizon = o.horizon })
    end
  end
  return true
end

--- A column as the model knows such: for one that was trained here an infinite value is missing, as
--- it was in training. Other programs have their own way, which their models keep.
local function known(loaded, values)
  for i, v in ipairs(loaded.meta.features and values or {}) do
    if v - v ~= 0 then values[i] = false end
  end
  return values
end

--- Rows with the model's features in its order, from a matrix that has some of them by name, or all
--- of them by place where the model does not name them.
---@param loaded model.Loaded
---@param m matrix.Matrix
---@return matrix.Matrix
function model_file.complete(loaded, m)
  local at, columns, nothing = {}, {}, {}
  for j, name in ipairs(loaded.is_unnamed and loaded.features or m.names) do at[name] = j end
  for i = 1, m.rows do nothing[i] = false end
  for j, name in ipairs(loaded.features) do
    columns[j] = at[name] and known(loaded, m:column(at[name])) or nothing
  end
  return matrix.from_columns(columns, loaded.features)
end

return model_file
