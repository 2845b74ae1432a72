--- Gradient boosting for the probability of a yes, after scikit-learn's GradientBoostingClassifier:
--- trees that are added up to a margin, whose logistic is the probability. Trained here, on
--- histograms or by scikit-learn's own exact search, or read from files of XGBoost and LightGBM.
local check = require 'check'
local core = require 'perigee.boost'
local file = require 'perigee.file'
local json = require 'json'
local matrix = require 'matrix'
local task = require 'perigee.task'

local gradient_boosting = {}

local WATCH = 0.1 -- seconds between two looks at the progress

-- -- the model ------------------------------------------------------------------------------------

---@class gradient_boosting.Explanation  bias and contributions sum to the margin
---@field bias number             the mean margin over the rows trained on
---@field contributions number[]  of each feature

---@class gradient_boosting.Model
---@field n_estimators integer            trees
---@field n_features integer
---@field n_classes integer               2, or more in models of several classes
---@field feature_names? string[]         nil where they have none
---@field feature_importances number[]    share of the splits' gain; sums to 1
---@field train_score? number[]           after each tree that was grown: mean deviance (twice the
---       log-loss) of the rows trained on; nil for models of other programs
---@field validation_score? number[]      the same of the rows kept for validation
---@field note? string                    whatever set_note() was given; it is kept with the model
local Model = {}
Model.__index = Model

local cores = setmetatable({}, { __mode = 'k' }) -- model -> perigee.boost

local function new(handle)
  local trees, features, groups = handle:size()
  local kept = handle:note()
  kept = kept and json.decode(kept)
  kept = type(kept) == 'table' and kept or {}
  local model = setmetatable({ n_estimators = trees, n_features = features,
    n_classes = math.max(2, groups), feature_names = handle:names(),
    feature_importances = handle:importances(), train_score = kept.train_score,
    validation_score = kept.validation_score, note = kept.note }, Model)
  cores[model] = handle
  return model
end

local function keep(model)
  local train, validation = model.train_score, model.validation_score
  cores[model]:set_note(json.encode { train_score = train and json.array(train),
    validation_score = validation and json.array(validation), note = model.note })
end

local function same(a, b)
  for j = 1, math.max(#a, #b) do
    if a[j] ~= b[j] then return false end
  end
  return true
end

local function is_matrix(v) return type(v) == 'userdata' end

--- Bytes or a path, or an error that blames whoever called.
local function text(what, v)
  if type(v) == 'string' then return v end
  error(('gradient_boosting.%s: %s'):format(what, check.expected('a string', v)), 3)
end

local function as_matrix(what, X, names, level)
  if is_matrix(X) then return X end
  if type(X) ~= 'table' then
    error(('%s: %s'):format(what, check.expected('a matrix or an array of rows', X)), level + 1)
  end
  local ok, m = pcall(matrix.from_rows, X, names)
  if not ok then
    error(('%s: %s'):format(what, (tostring(m):gsub('^[^:]+:%d+: ', ''))), level + 1)
  end
  return m
end

--- Columns as the model has its features: by name where both have names, else by place.
local function fitting(model, what, X, level)
  local m = as_matrix(what, X, nil, level + 1)
  local names = model.feature_names
  if m.names and names then
    if same(m.names, names) then return m end
    local has = {}
    for _, name in ipairs(m.names) do has[name] = true end
    for _, name in ipairs(names) do
      if not has[name] then
        local near = check.nearest(name, m.names)
        error(('%s: there is no column "%s", which the model was trained on%s'):format(what, name,
          near and ('; did you mean "%s"?'):format(near) or ''), level + 1)
      end
    end
    return m:select(names)
  end
  if m.columns ~= model.n_features and m.rows > 0 then
    error(('%s: %d columns; the model has %d features'):format(what, m.columns, model.n_features),
      level + 1)
  end
  return m
end

local function predict(model, what, X, probabilities) -- called in tail position
  local m = fitting(model, what, X, 2)
  if m.rows == 0 then return {} end
  return cores[model]:predict(m, probabilities, 0)
end

--- The probability of a 1 for each row; of models of several classes an array of all of theirs.
--- Columns are matched by name where both sides have names; others than the model's do not matter.
---@param X matrix.Matrix|number[][]
---@return number[]
function Model:predict_proba(X) return predict(self, 'predict_proba', X, true) end

--- The margin of each row: the sum of the trees, the logit of the probability.
---@param X matrix.Matrix|number[][]
---@return number[]
function Model:predict_raw(X) return predict(self, 'predict_raw', X, false) end

local function explanation(parts)
  local bias = table.remove(parts)
  return { bias = bias, contributions = parts }
end

local function explain(model, X)
  local m = fitting(model, 'explain', X, 3)
  if m.rows == 0 then return {} end
  local rows, message = cores[model]:explain(m)
  if not rows then return nil, message end
  for i, groups in ipairs(rows) do
    for g, parts in ipairs(groups) do groups[g] = explanation(parts) end
    rows[i] = #groups == 1 and groups[1] or groups
  end
  return rows
end

--- What each feature has done for the margin of one row (path-dependent TreeSHAP); of models of
--- several classes an array, one a class.
---@param row number[]|matrix.Matrix  its values in the order of the features, or of one row
---@return gradient_boosting.Explanation? explanation
---@return string? message
function Model:explain(row)
  if type(row) ~= 'table' and not (is_matrix(row) and row.rows > 0) then
    error('explain: ' .. check.expected('the values of a row, or a matrix of one', row), 2)
  end
  local rows, message = explain(self, is_matrix(row) and row:slice(1, 1) or { row })
  return rows and rows[1], message
end

--- The same of many rows at once.
---@param X matrix.Matrix|number[][]
---@return gradient_boosting.Explanation[]? explanations
---@return string? message
function Model:explain_all(X)
  local rows, message = explain(self, X)
  return rows, message
end

--- Keeps a text with the model, in whatever it is written to.
---@param note? string
function Model:set_note(note)
  self.note = note
  keep(self)
end

--- The model as bytes, the same on every machine.
---@return string
function Model:serialize() return cores[self]:pack() end

--- Writes it to a file, at once or not at all.
---@param path string
---@return boolean? ok
---@return string? message
function Model:save(path) return file.write(text('save', path), self:serialize()) end

-- -- options --------------------------------------------------------------------------------------

local WEIGHT = check.number(nil, { min = 1e-6, max = 1e6 }) -- what derivatives in floats bear

local function each_weight(v)
  if v == 'balanced' then return end
  if type(v) ~= 'table' then return check.expected('"balanced" or { [0] = …, [1] = … }', v) end
  for key, weight in pairs(v) do
    if key ~= 0 and key ~= 1 then
      return ('there is no class %s; the classes are 0 and 1'):format(tostring(key))
    end
    local message = WEIGHT.test(weight)
    if message then return message end
  end
end

local SPEC = {
  split = check.one_of('histogram', { 'histogram', 'exact' }),
  n_estimators = check.number(100, { min = 1, max = 100000, integer = true }),
  max_depth = check.number(5, { min = 1, max = 16, integer = true }),
  learning_rate = check.number(0.1, { above = 0, max = 1 }),
  min_samples_leaf = check.number(nil, { min = 1, max = 2 ^ 31, integer = true }),
  min_child_weight = check.number(nil, { min = 0 }),
  l2 = check.number(nil, { min = 0 }),
  subsample = check.number(1, { above = 0, max = 1 }),
  colsample = check.number(1, { above = 0, max = 1 }),
  max_bins = check.number(255, { min = 2, max = 255, integer = true }),
  class_weight = { test = each_weight },
  validation_fraction = check.number(0, { min = 0, max = 0.9 }),
  early_stopping_rounds = check.number(0, { min = 0, integer = true }),
  monotone = { default = {}, test = function(v)
    if type(v) ~= 'table' then return check.expected('a table of columns and -1, 0 or 1', v) end
    for _, direction in pairs(v) do
      if direction ~= -1 and direction ~= 0 and direction ~= 1 then
        return check.expected('-1, 0 or 1 for each column', direction)
      end
    end
  end },
  categorical = check.list_of(check.any(), {}),
  feature_names = check.list_of(check.string()),
  random_state = check.number(0, { integer = true }),
  n_jobs = check.number(0, { min = 0, max = 64, integer = true }),
}

--- The number of a column that is given by name or number.
local function column_of(X, column, option)
  if math.type(column) == 'integer' and column >= 1 and column <= X.columns then return column end
  for j, name in ipairs(X.names or {}) do
    if name == column then return j end
  end
  local near = type(column) == 'string' and X.names and check.nearest(column, X.names)
  error(('gradient_boosting.fit: %s: there is no column %s%s'):format(option,
    type(column) == 'string' and ('"%s"'):format(column) or tostring(column),
    near and ('; did you mean "%s"?'):format(near) or ''), 4)
end

local HISTOGRAM_ONLY = { 'categorical', 'monotone', 'max_bins' }

local function refuse_exact(options)
  for _, name in ipairs(HISTOGRAM_ONLY) do
    if options[name] ~= nil then
      error(('gradient_boosting.fit: %s: split = "exact" has no such thing'):format(name), 4)
    end
  end
end

--- The options as the kernel takes them.
local function settings(o, options, X)
  o.exact = o.split == 'exact'
  if o.exact then refuse_exact(options) end
  o.min_samples_leaf = o.min_samples_leaf or (o.exact and 1 or 20)
  o.min_child_weight = o.min_child_weight or (o.exact and 0 or 1)
  o.l2 = o.l2 or (o.exact and 0 or 1) -- fewer rows, less trust in a leaf
  if o.early_stopping_rounds > 0 and o.validation_fraction == 0 then
    error('gradient_boosting.fit: early_stopping_rounds needs a validation_fraction to watch', 3)
  end
  o.balanced = o.class_weight == 'balanced'
  if type(o.class_weight) == 'table' then
    o.weight_0, o.weight_1 = o.class_weight[0], o.class_weight[1]
  end
  local monotone, categorical = {}, {}
  for j = 1, X.columns do monotone[j], categorical[j] = 0, false end
  for column, direction in pairs(o.monotone) do
    monotone[column_of(X, column, 'monotone')] = direction
  end
  for _, column in ipairs(o.categorical) do
    local j = column_of(X, column, 'categorical')
    if monotone[j] ~= 0 then
      error('gradient_boosting.fit: monotone: categories have no order', 3)
    end
    categorical[j] = true
  end
  o.monotone, o.categorical = monotone, categorical
  return o
end

-- -- training and loading -------------------------------------------------------------------------

local function labels(y)
  if is_matrix(y) and y.columns == 1 then return y:column(1) end
  if type(y) ~= 'table' then
    error(('gradient_boosting.fit: %s'):format(is_matrix(y)
      and ('%d columns of labels; expected one'):format(y.columns)
      or check.expected('an array of labels, 0 or 1', y)), 3)
  end
  return y
end

--- The kernel's training. A label that is no number is found where labels are copied, and is the
--- caller's fault: to look for it here would hold up the loop where there are millions.
local function trained(m, outcomes, o, progress)
  local ok, handle, train_score, validation_score = pcall(core.fit, m, outcomes, o, progress)
  if ok then return handle, train_score, validation_score end
  local what = type(handle) == 'string' and handle:match '^value (%d+ is an? .+); expected'
  error(what and ('gradient_boosting.fit: label %s; expected 0 or 1'):format(what) or handle,
    what and 3 or 0)
end

--- Tells how far it is until it is closed.
local function watch(progress, total, on_progress)
  local t = task.spawn(function()
    while true do
      task.sleep(WATCH)
      on_progress(progress:done(), total)
    end
  end)
  return setmetatable({}, { __close = function() t:cancel() end })
end

---@class gradient_boosting.Options
---@field split? "histogram"|"exact"    "exact" is scikit-learn's own search, slower by far
---@field n_estimators? integer         trees; 100
---@field max_depth? integer            1 to 16; 5
---@field learning_rate? number         0.1
---@field min_samples_leaf? integer     rows in each leaf; 20, exact: 1
---@field min_child_weight? number      sum of p(1 - p) in each leaf; 1, exact: 0
---@field l2? number                    added to that sum in a leaf's value; 1, exact: 0
---@field subsample? number             share of the rows each tree sees; 1
---@field colsample? number             share of the features each tree sees; 1
---@field max_bins? integer             bins of a feature, that of missing values among them; 255
---@field class_weight? "balanced"|table<integer, number>  nil: none. With weights what comes out is
---       no probability any more
---@field validation_fraction? number   share of the rows, the last, that is watched instead; 0
---@field early_stopping_rounds? integer  ends after so many trees without a better loss there, and
---       keeps those up to the best; 0: never
---@field monotone? table<string|integer, integer>  columns by name or number: -1 falling, 1 rising
---@field categorical? (string|integer)[]  columns whose whole numbers (0 to 65535) are names
---@field feature_names? string[]       where X is plain rows
---@field random_state? integer         seed; 0
---@field n_jobs? integer               threads; 0: as many as there are processors

--- Trains on rows and their labels, on threads, while the calling task waits. NaN is a missing
--- value, whose way each split learns. The same data, options and seed give the same bytes,
--- whatever n_jobs is.
---@param X matrix.Matrix|number[][]
---@param y integer[]|matrix.Matrix    0 or 1 for each row; in order of time where rows are
---@param options? gradient_boosting.Options
---@param on_progress? fun(done: integer, total: integer)  called ten times a second, and at the end
---@return gradient_boosting.Model? model
---@return string? message  what is wrong with the data
function gradient_boosting.fit(X, y, options, on_progress)
  local names = type(options) == 'table' and options.feature_names
  local m = as_matrix('gradient_boosting.fit', X, names or nil, 2)
  local o = settings(check.options('gradient_boosting.fit', options, SPEC), options or {}, m)
  local outcomes = labels(y)
  if #outcomes ~= m.rows then
    error(('gradient_boosting.fit: %d labels for %d rows'):format(#outcomes, m.rows), 2)
  end
  local handle, train_score, validation_score
  if on_progress then
    local progress = core.progress()
    local _watching <close> = watch(progress, o.n_estimators, on_progress)
    handle, train_score, validation_score = trained(m, outcomes, o, progress)
  else
    handle, train_score, validation_score = trained(m, outcomes, o)
  end
  if not handle then return nil, train_score end
  local model = new(handle)
  model.train_score, model.validation_score = train_score, validation_score
  keep(model)
  if on_progress then on_progress(o.n_estimators, o.n_estimators) end
  return model
end

--- Loads a model: one saved here, XGBoost's JSON or UBJSON, LightGBM's text; which it is, the
--- content tells. What cannot be represented exactly is refused with the reason. Waits.
---@param path string
---@return gradient_boosting.Model? model
---@return string? message
function gradient_boosting.load(path)
  local handle, message = core.load(text('load', path))
  if not handle then return nil, message end
  return new(handle)
end

--- A model from the bytes of serialize(), or of any file that load() reads.
---@param bytes string
---@return gradient_boosting.Model? model
---@return string? message
function gradient_boosting.deserialize(bytes)
  local handle, message = core.unpack(text('deserialize', bytes))
  if not handle then return nil, message end
  return new(handle)
end

return gradient_boosting
