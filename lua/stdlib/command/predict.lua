--- `perigee predict`: how likely a failure is, and why.
local check = require 'check'
local cli = require 'command.cli'
local clock = require 'perigee.clock'
local csv = require 'prediction.csv'
local json = require 'perigee.json'
local log = require 'log'
local matrix = require 'matrix'
local model_file = require 'prediction.model'
local prediction = require 'prediction'
local queries = require 'command.prediction_queries'
local series = require 'command.series'
local source = require 'prediction.source'

local SPEC = {
  usage = 'predict --model MODEL --data FILE.csv\n'
    .. '       perigee predict --model MODEL --url URL --features FILE.yaml\n'
    .. '       perigee predict -c CONFIG --prediction NAME',
  summary = 'Tells how likely a failure is, for each row of a file or each group of series now.',
  details = [[
The model is of "perigee train", of XGBoost (JSON, UBJSON), LightGBM (text) or scikit-learn (its
trees as JSON). Columns are found by the names of its features; what is absent is missing, and
is told. Exit status 1: with --fail-on, a row has reached that level.]],
  options = {
    { name = 'model', value = 'MODEL', help = 'the file; that of the declaration' },
    { name = 'data', value = 'FILE', help = 'a CSV file with a column a feature' },
    { name = 'url', value = 'URL', help = 'of the Prometheus to ask' },
    { name = 'config', short = 'c', value = 'CONFIG', help = 'the configuration with that source' },
    { name = 'features', value = 'FILE', help = 'YAML: names and queries' },
    { name = 'prediction', value = 'NAME', help = 'declared in a rule file: all of this' },
    { name = 'rules', value = 'FILE', help = 'declares it; the files of the configuration' },
    { name = 'group-by', value = 'LIST', help = 'a,b: labels that the queries have in common' },
    { name = 'defaults', value = 'LIST', help = 'a=0,b=1: stand for features that are missing' },
    { name = 'levels', value = 'LIST', help = 'critical=0.8,high=0.5,medium=0.3' },
    { name = 'fail-on', value = 'LEVEL', help = 'exit status 1 from this level on' },
    cli.JSON,
  },
}

local function usage(message) return cli.refuse(cli.plain(message)) end

local function defaults_of(values, def, loaded)
  local out, has = {}, {}
  for _, name in ipairs(loaded.features) do has[name] = true end
  for name, v in pairs(def and def.defaults or {}) do out[name] = v end
  for _, part in ipairs(queries.list(values.defaults or '')) do
    local name, text = part:match '^(.-)=(.*)$'
    local number = tonumber(text)
    if not number or number - number ~= 0 then
      return usage(('--defaults: expected FEATURE=NUMBER, not "%s"'):format(part))
    end
    if not has[name] then
      local near = check.nearest(name, loaded.features)
      return usage(('--defaults: the model has no feature "%s"%s'):format(name,
        near and ('; did you mean "%s"?'):format(near) or ''))
    end
    out[name] = number
  end
  return out
end

--- The rows of a file in the model's order, and the features that it lacks.
local function from_file(values, loaded)
  for _, name in ipairs { 'url', 'config', 'features', 'prediction', 'rules', 'group-by' } do
    if values[name] then return usage(('--%s has no use with --data'):format(name)) end
  end
  local m, missing
  if loaded.is_unnamed then
    local message
    m, message = matrix.read_csv(values.data)
    if not m then return usage(message) end
    if m.columns < #loaded.features then
      return usage(('%s has %d columns; the model takes %d, in its order'):format(values.data,
        m.columns, #loaded.features))
    end
    return { X = model_file.complete(loaded, m), missing = {} }
  end
  m, missing = csv.rows(values.data, loaded.features)
  if not m then return usage(missing) end
  return { X = model_file.complete(loaded, m), missing = missing }
end

--- The same from a source, with the labels of each row.
local function from_source(values, loaded, wanted)
  local client, status = series.source(values)
  if not client then return nil, status end
  local now = clock.now()
  local groups, message, kind = source.present(function(expr) return client:query(expr, now) end,
    wanted.queries, wanted.group_by)
  if not groups then
    cli.error(cli.plain(message))
    return nil, kind == 'bad_data' and cli.USAGE or kind == 'data' and cli.NOT_AS_IT_SHOULD_BE
      or cli.OUTSIDE
  end
  if #groups == 0 then
    cli.error 'no data: none of the features gives anything now'
    return nil, cli.NOT_AS_IT_SHOULD_BE
  end
  local missing = {}
  for _, name in ipairs(loaded.features) do
    if not wanted.queries[name] then missing[#missing + 1] = name end
  end
  if #missing == #loaded.features then
    return usage(('none of the features named is one of the model, which are %s'):format(
      table.concat(missing, ', ', 1, math.min(20, #missing))))
  end
  return { X = source.rows(groups, loaded.features), missing = missing, groups = groups }
end

-- -- output ---------------------------------------------------------------------------------------

local MOST_SHOWN = 40

local function factors_text(factors)
  local parts = {}
  for i, f in ipairs(factors) do
    parts[i] = ('%s%s (%+.2f)'):format(f.feature,
      f.value and ('=%.4g'):format(f.value) or ' missing', f.contribution)
  end
  return table.concat(parts, ', ')
end

local COLOURS = { critical = 'red', high = 'red', medium = 'yellow' }

--- The worst rows of many, each with what it is about.
local function show(list, counts, labelled)
  table.sort(list, function(a, b)
    if a.failure_probability ~= b.failure_probability then
      return a.failure_probability > b.failure_probability
    end
    return a.row < b.row
  end)
  local rows = {}
  for i = 1, math.min(MOST_SHOWN, #list) do
    local r = list[i]
    rows[i] = { labelled and cli.labels_text(r.labels) or tostring(r.row),
      prediction.percent(r.failure_probability), r.risk_level,
      factors_text(r.top_contributing_factors) }
  end
  cli.table({ labelled and 'series' or 'row', 'probability', 'risk', 'most contributing' }, rows)
  if #list > #rows then print(('… and %d more rows, of lower risk'):format(#list - #rows)) end
  print()
  local words = {}
  for i, name in ipairs(prediction.NAMES) do words[i] = ('%d %s'):format(counts[name], name) end
  print(table.concat(words, ', '))
  if list[1] then
    print(cli.colour(COLOURS[list[1].risk_level] or 'green', list[1].recommendation))
  end
end

--- One row of the document, on a line of its own.
local function json_row(result)
  result.missing = json.array(result.missing)
  result.top_contributing_factors = json.array(result.top_contributing_factors)
  for _, f in ipairs(result.top_contributing_factors) do
    if not f.value or f.value - f.value ~= 0 then f.value = json.null end -- JSON knows no infinity
  end
  return json.encode(result)
end

--- Prints rows as they come: of a great many the document need not be held as a whole.
local function json_printer()
  local n = 0
  return { add = function(_, result)
    io.write(n == 0 and '{"rows": [\n' or ',\n', json_row(result))
    n = n + 1
  end, close = function() io.write(n == 0 and '{"rows": []}\n' or '\n]}\n') end }
end

local function table_printer(labelled)
  local list, counts = {}, { critical = 0, high = 0, medium = 0, low = 0 }
  return { add = function(_, result, i)
    counts[result.risk_level] = counts[result.risk_level] + 1
    result.row, list[i] = i, result
  end, close = function() show(list, counts, labelled) end }
end

--- Predicts, prints, and says whether the level was reached.
local function answer(values, loaded, given, options)
  local printer = values.json and json_printer() or table_printer(given.groups ~= nil)
  local worst = false
  local progress <close> = cli.progress()
  progress:tell(('predicting for %d rows'):format(given.X.rows))
  local ok, message = model_file.predict(loaded, given.X, options, function(i, result)
    if given.groups then result.labels = given.groups[i].labels end
    worst = worst or values['fail-on'] and prediction.reaches(result.risk_level, values['fail-on'])
    printer:add(result, i)
  end)
  progress:close()
  if not ok then
    cli.error(cli.plain(message))
    return cli.NOT_AS_IT_SHOULD_BE
  end
  printer:close()
  return worst and cli.NOT_AS_IT_SHOULD_BE or cli.DONE
end

local function levels_of(values, def)
  if values.levels or not def then return queries.levels(values) end
  return def.levels
end

return function(...)
  local values, status = cli.parse(SPEC, ...)
  if not values then return status end
  log.setup('warn', false)
  local message = values['fail-on'] and check.one_of(nil, prediction.NAMES).test(values['fail-on'])
  if message then return select(2, usage('--fail-on: ' .. message)) end
  local wanted
  if not values.data then
    wanted, status = queries.wanted(values)
    if not wanted then return status end
  end
  local def = wanted and wanted.def
  local path = values.model or def and def.model
  if not path then return select(2, usage '--model MODEL is missing') end
  local levels, defaults
  levels, status = levels_of(values, def)
  if not levels then return status end
  local loaded
  loaded, message = model_file.load(path, def and def.order)
  if not loaded then return select(2, usage(message)) end
  defaults, status = defaults_of(values, def, loaded)
  if not defaults then return status end
  if loaded.is_unnamed then
    cli.error(('warning: %s does not name its features: columns are taken in its order'):format(
      path))
  end
  local given
  given, status = (wanted and from_source or from_file)(values, loaded, wanted)
  if not given then return status end
  if #given.missing > 0 then
    cli.error(('warning: missing: %s'):format(cli.plain(table.concat(given.missing, ', '))))
  end
  return answer(values, loaded, given, { levels = levels, defaults = defaults,
    scaler = def and def.scaler })
end
