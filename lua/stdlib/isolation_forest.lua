--- Isolation forests, after scikit-learn's IsolationForest: how few random cuts set a row apart.
--- Fitting and scoring many rows run on threads while the caller waits.
---
--- Missing values (NaN, or false in plain rows) are allowed: a row goes both ways where it lacks
--- the value that is asked for, weighted by the training rows on each side. Infinities count as the
--- largest number of float32, in which values are compared.
local check = require 'check'
local core = require 'perigee.forest'
local file = require 'perigee.file'
local matrix = require 'matrix'

local isolation_forest = {}

---@alias isolation_forest.Rows matrix.Matrix|(number|false)[][]

---@class isolation_forest.Model
---@field n_estimators integer
---@field max_samples integer     rows a tree was grown from
---@field n_features integer
---@field feature_names? string[] nil where the columns had none
---@field ndim integer
---@field contamination number|"auto"
---@field offset number           scores below it are anomalies
---@field mean_score number       of a row of which nothing is known; explain() starts there
local Model = {}
Model.__index = Model

local function positive(what, value, whole_from)
  local whole = math.tointeger(value)
  if type(value) ~= 'number' or value ~= value or value <= 0 or (value > 1 and not whole)
      or (whole and whole < whole_from) then
    return check.expected(what, value)
  end
end

--- A count, or a share in (0, 1]: 1 is a count and 1.0 a share, as scikit-learn takes them.
local function is_count(value) return value > 1 or math.type(value) == 'integer' end

local FIT = {
  n_estimators = check.number(100, { integer = true, min = 1, max = 1 << 20 }),
  max_samples = { default = 256, test = function(v)
    if v == 'auto' then return nil, 256 end
    return positive('a number of rows from 2 on, a share in (0, 1] or "auto"', v,
      math.type(v) == 'integer' and 2 or 1)
  end },
  contamination = { default = 'auto', test = function(v)
    if v == 'auto' then return end
    if type(v) ~= 'number' or not (v > 0 and v <= 0.5) then
      return check.expected('"auto" or a number above 0 and at most 0.5', v)
    end
  end },
  max_features = { default = 1.0, test = function(v)
    return positive('a number of columns or a share in (0, 1]', v, 1)
  end },
  bootstrap = check.boolean(false),
  random_state = check.number(0, { integer = true }),
  n_jobs = check.number(0, { integer = true, min = -1, max = 1024 }),
  ndim = check.number(1, { integer = true, min = 1, max = 2 }),
}

local function of(forest)
  local model = forest:about()
  model.forest = forest
  return setmetatable(model, Model)
end

local function to_matrix(X, level)
  if type(X) == 'userdata' then return X end
  if type(X) ~= 'table' then
    error(check.expected('rows, as a matrix or an array of arrays', X), level + 1)
  end
  local ok, m = pcall(matrix.from_rows, X)
  if not ok then error(m, level + 1) end
  return m
end

-- What the binding raises is about arguments: it blames the line that called the public function,
-- at this level as its caller sees it.
local function guarded(level, f, ...)
  local ok, result, message = pcall(f, ...)
  if not ok then error(result, level + 1) end
  return result, message
end

---@class isolation_forest.Options
---@field n_estimators? integer        trees; 100
---@field max_samples? number|"auto"   rows a tree: a whole number, or a share as a float; 256
---@field contamination? number|"auto" the share of rows that shall be anomalies; "auto"
---@field max_features? number         columns a tree: a whole number, or a share as a float; 1.0
---@field bootstrap? boolean           rows are drawn with replacement; false
---@field random_state? integer        the seed; 0. The same seed gives the same bytes
---@field n_jobs? integer              threads; 0, as many as there are processors
---@field ndim? integer                columns that a cut looks at, 1 or 2; 1

--- Fits a forest to the rows. nil and why where they are too few or empty.
---@param X isolation_forest.Rows
---@param options? isolation_forest.Options
---@return isolation_forest.Model?
---@return string? message
function isolation_forest.fit(X, options)
  local o = check.options('isolation_forest.fit', options, FIT)
  o.whole_samples, o.whole_features = is_count(o.max_samples), is_count(o.max_features)
  o.contamination = o.contamination == 'auto' and 0 / 0 or o.contamination
  o.n_jobs = math.max(o.n_jobs, 0)
  local forest, message = guarded(2, core.fit, to_matrix(X, 2), o)
  if not forest then return nil, message end
  return of(forest)
end

local function score(model, X, kind)
  -- One plain row is what a detector asks for, again and again: no matrix is made for it.
  if type(X) == 'table' and #X == 1 and type(X[1]) == 'table' then
    return { guarded(3, model.forest.score_row, model.forest, X[1], kind) }
  end
  local array, message = guarded(3, model.forest.score, model.forest, to_matrix(X, 3), kind)
  if not array then error(message, 3) end
  return array
end

--- Scores of rows, from -1 (odd) to 0: -2^-(mean path length / that of a random row).
--- Columns are found by name where the model and the matrix have names, else by position.
---@param X isolation_forest.Rows
---@return number[]
function Model:score_samples(X)
  local scores = score(self, X, 'score')
  return scores
end

--- Scores minus the offset: below 0 is an anomaly.
---@param X isolation_forest.Rows
---@return number[]
function Model:decision_function(X)
  local decisions = score(self, X, 'decision')
  return decisions
end

--- -1 for rows whose decision is below 0, else 1.
---@param X isolation_forest.Rows
---@return integer[]
function Model:predict(X)
  local predictions = score(self, X, 'prediction')
  return predictions
end

--- The score of one row, given as an array: what score_samples gives for it, but faster.
---@type fun(self: isolation_forest.Model, row: (number|false)[]): number
Model.score = core.score_model

--- One row, as an array: of a matrix or table of one row, or as it is.
local function to_row(model, row)
  if type(row) == 'table' and type(row[1]) ~= 'table' then return row end
  local m = to_matrix(row, 3)
  local which, message = guarded(3, model.forest.columns, model.forest, m)
  if not which then error(message, 3) end
  if m.rows ~= 1 then error(('expected one row, not %d'):format(m.rows), 3) end
  return m:select(which):to_rows()[1]
end

--- Why a row has its score: what each feature adds to model.mean_score, the score of a row of which
--- nothing is known. The numbers add up to the row's score minus that; the most negative is what
--- makes it odd.
---@param row (number|false)[]|isolation_forest.Rows  one row
---@return number[] contributions  one a feature
function Model:explain(row)
  local contributions = guarded(2, self.forest.explain, self.forest, to_row(self, row))
  return contributions
end

--- The model as bytes: the same for the same seed, whatever the machine or the number of threads.
---@return string
function Model:serialize() return self.forest:serialize() end

--- Writes the model to a file, in place of what is there.
---@param path string
---@return boolean? done
---@return string? message
function Model:save(path)
  local done, message = guarded(2, file.write, path, self:serialize())
  return done, message
end

local LARGEST <const> = 1 << 30 -- bytes of a model

--- A model from what serialize() gave, or from scikit-learn's trees as JSON.
---@param bytes string
---@return isolation_forest.Model?
---@return string? message
function isolation_forest.deserialize(bytes)
  local forest, message = guarded(2, core.deserialize, bytes)
  if not forest then return nil, message end
  return of(forest)
end

--- A model from a file that save() wrote, or of scikit-learn's trees as JSON.
---@param path string
---@return isolation_forest.Model?
---@return string? message
function isolation_forest.load(path)
  local bytes, failure = guarded(2, file.read, path, LARGEST)
  if not bytes then return nil, failure end
  local model, message = isolation_forest.deserialize(bytes)
  if not model then return nil, ('cannot load %s: %s'):format(path, message) end
  return model
end

return isolation_forest
