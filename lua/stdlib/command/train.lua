--- `perigee train`: learns to predict failures, and tells how well it does.
local check = require 'check'
local cli = require 'command.cli'
local clock = require 'perigee.clock'
local csv = require 'prediction.csv'
local file = require 'perigee.file'
local json = require 'perigee.json'
local log = require 'log'
local model_file = require 'prediction.model'
local picture = require 'prediction.picture'
local queries = require 'command.prediction_queries'
local series = require 'command.series'
local source = require 'prediction.source'
local train = require 'prediction.train'
local units = require 'units'
local view = require 'command.train_view'

local SPEC = {
  usage = 'train --data FILE.csv --label COLUMN --out MODEL\n'
    .. '       perigee train -c CONFIG --prediction NAME --alert NAME --out MODEL\n'
    .. '       perigee train --url URL --features FILE.yaml --alert NAME --out MODEL',
  summary = 'Learns from past failures how likely the next one is, and tells how well it does on\n'
    .. 'rows that it has not seen.',
  details = [[
A CSV file has a column a feature and a label of 0 and 1; an empty field is missing. From a source,
features are queries, and the label is whether the alert fires within the horizon ahead; while it
fires there are no rows. The last rows in time are held out for the report; the model that is
written is then trained on all rows. Exit status 1: nothing can be learned from these rows.]],
  options = {
    { name = 'data', value = 'FILE', help = 'a CSV file' },
    { name = 'label', value = 'COLUMN', help = 'holds 1 where a failure followed, else 0' },
    { name = 'time', value = 'COLUMN', help = 'orders the rows; the file\'s order' },
    { name = 'features', value = 'LIST', help = 'a,b,c: columns; all others. Of a source: a YAML '
      .. 'file of names and queries' },
    { name = 'url', value = 'URL', help = 'of the Prometheus to learn from' },
    { name = 'config', short = 'c', value = 'CONFIG', help = 'the configuration with that source' },
    { name = 'prediction', value = 'NAME', help = 'declared in a rule file: its features' },
    { name = 'rules', value = 'FILE', help = 'declares it; the files of the configuration' },
    { name = 'group-by', value = 'LIST', help = 'a,b: labels that the queries have in common' },
    { name = 'alert', value = 'NAME', help = 'is the failure' },
    { name = 'horizon', value = 'D', help = 'how far ahead the label looks; 1h' },
    { name = 'history', value = 'D', help = 'how far back to learn from; 30d' },
    { name = 'step', value = 'D', help = 'between two rows; 5m' },
    { name = 'out', value = 'MODEL', help = 'the file to write' },
    { name = 'split', value = 'time|random', help = 'which rows are held out: the last, or any' },
    { name = 'test-share', value = 'N', help = 'of the rows are held out; 0.2' },
    { name = 'class-weight', value = 'balanced',
      help = 'weighs failures up: no probabilities then' },
    { name = 'standardize', help = 'keeps mean and deviation of each feature with the model' },
    { name = 'trees', value = 'N', help = 'exactly so many; as many as do best, at most 400' },
    { name = 'depth', value = 'N', help = 'of the trees; 2, 3 or 5, whichever does best' },
    { name = 'learning-rate', value = 'N', help = '0.05' },
    { name = 'levels', value = 'LIST', help = 'critical=0.8,high=0.5,medium=0.3' },
    { name = 'seed', value = 'N', help = 'of whatever is random; 0' },
    { name = 'no-refit', help = 'writes the model that the report is about' },
    { name = 'plot', value = 'FILE.svg', help = 'draws how well the probabilities are calibrated' },
    cli.JSON,
  },
}

local function failed(message)
  cli.error(cli.plain(message))
  return cli.NOT_AS_IT_SHOULD_BE
end

--- A number from the command line; nil where it is not given, and a status where it is wrong.
local function number(values, name, limits)
  if not values[name] then return nil end
  local n = tonumber(values[name])
  if n and limits.integer then n = math.tointeger(n) or n end
  local message = check.number(nil, limits).test(n == nil and values[name] or n)
  if message then return cli.refuse(('--%s: %s'):format(name, message)) end
  return n
end

local LIMITS = {
  ['test-share'] = { min = 0.01, max = 0.9 }, trees = { min = 1, max = 10000, integer = true },
  depth = { min = 1, max = 16, integer = true }, ['learning-rate'] = { above = 0, max = 1 },
  seed = { min = 0, integer = true },
}

--- Why a file cannot be written there, as far as one can tell before the long work; or nil.
local function unwritable(path)
  local folder = path:match '^(.*/)[^/]*$' or '.'
  local parent, there = file.stat(folder), file.stat(path)
  if not parent or parent.type ~= 'folder' then return 'there is no folder ' .. folder end
  if there and there.type == 'folder' then return 'it is a folder' end
end

--- What the options say of training.
local function settings(values)
  local o = { standardize = values.standardize, refit = not values['no-refit'],
    split = values.split or 'time', class_weight = values['class-weight'] }
  for _, c in ipairs { { 'split', { 'time', 'random' } }, { 'class-weight', { 'balanced' } } } do
    local message = values[c[1]] and check.one_of(nil, c[2]).test(values[c[1]])
    if message then return cli.refuse(('--%s: %s'):format(c[1], message)) end
  end
  for name, limits in pairs(LIMITS) do
    local n, status = number(values, name, limits)
    if status then return nil, status end
    o[(name:gsub('-', '_'))] = n
  end
  o.max_depth = o.depth
  local status
  o.horizon, status = series.duration(values, 'horizon', values.alert and '1h' or nil)
  if status then return nil, status end
  o.levels, status = queries.levels(values)
  if not o.levels then return nil, status end
  return o
end

local function from_file(values, o)
  for _, name in ipairs { 'url', 'config', 'prediction', 'rules', 'alert', 'group-by', 'history',
    'step' } do
    if values[name] then return cli.refuse(('--%s has no use with --data'):format(name)) end
  end
  if not values.label then return cli.refuse '--label COLUMN is missing: what is a failure?' end
  local features = values.features and queries.list(values.features)
  local data, message = csv.training(values.data, values.label,
    { time = values.time, features = features })
  if not data then return cli.refuse(cli.plain(message)) end
  o.label = values.label
  return data
end

local function from_source(values, o, progress)
  if values.label or values.time then return cli.refuse '--label and --time belong to --data' end
  if not values.alert then
    return cli.refuse('--alert NAME is missing: which alert is the failure? '
      .. '(of a file: --data FILE.csv)')
  end
  local range, step, status, wanted, client
  range, status = series.duration(values, 'history', '30d')
  if not range then return nil, status end
  step, status = series.duration(values, 'step', '5m')
  if not step then return nil, status end
  wanted, status = queries.wanted(values)
  if not wanted then return nil, status end
  client, status = series.source(values)
  if not client then return nil, status end
  local stop = clock.now() // step * step
  local data, message, kind, excluded = source.history(client, { queries = wanted.queries,
    group_by = wanted.group_by, alert = values.alert, horizon = o.horizon, step = step,
    start = stop - range // step * step, stop = stop }, function(what) progress:tell(what) end)
  if not data then
    progress:close()
    cli.error(cli.plain(message))
    return nil, kind == 'data' and cli.NOT_AS_IT_SHOULD_BE or kind == 'bad_data' and cli.USAGE
      or cli.OUTSIDE
  end
  o.label = 'ALERTS ' .. values.alert
  return data, nil, excluded
end

local function finish(values, o, trained, excluded)
  local summary, meta = trained.summary, trained.meta
  summary.model, summary.label, meta.label = values.out, o.label, o.label
  meta.trained_at, meta.levels = clock.text(clock.now()), values.levels and o.levels or nil
  if excluded and excluded > 0 then summary.excluded_during_alert = excluded end
  local ok, message = model_file.save(values.out, trained)
  if not ok then return cli.refuse(cli.plain(message)) end
  if values.plot then
    ok, message = file.write(values.plot, picture.calibration(summary.evaluation,
      'Calibration of ' .. values.out:match '[^/]*$'))
    if not ok then return cli.refuse(cli.plain(message)) end
  end
  if values.json then
    summary.warnings = json.array(summary.warnings)
    cli.print_json(model_file.plain(summary))
  else
    view.print(summary, o.horizon and units.duration_text(o.horizon))
  end
  return true, cli.DONE
end

return function(...)
  local values, status = cli.parse(SPEC, ...)
  if not values then return status end
  log.setup('warn', false)
  if not values.out then return select(2, cli.refuse '--out MODEL is missing: where to?') end
  for _, path in ipairs { values.out, values.plot } do
    local why = unwritable(path)
    if why then
      return select(2, cli.refuse(('cannot write %s: %s'):format(cli.plain(path), why)))
    end
  end
  local o
  o, status = settings(values)
  if not o then return status end
  local progress <close> = cli.progress()
  local load = values.data and from_file or from_source
  progress:tell('reading ' .. (values.data or 'the history'))
  local data, wrong, excluded = load(values, o, progress)
  if not data then return wrong end
  local trained, message = train.run(data, o, function(what) progress:tell(what) end)
  progress:close()
  if not trained then return failed(message) end
  return select(2, finish(values, o, trained, excluded))
end
