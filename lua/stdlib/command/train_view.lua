--- What `perigee train` tells a person.
local cli = require 'command.cli'
local prediction = require 'prediction'

local view = {}

local function share(x) return x and prediction.percent(x) or '-' end
local function number(x, format) return x and (format or '%.3f'):format(x) or '-' end

local function line(format, ...) print(format:format(...)) end

--- Rows under a heading; numbers to the right.
local function table_of(title, heads, rows)
  print()
  print(cli.colour('bold', title))
  cli.table(heads, rows)
end

local function ranking(e)
  if not e.auc then
    return print 'The rows held out are of one class: nothing can be said of the ranking.'
  end
  line('Ranking: AUC %.3f ± %.3f; average precision %.3f, %.1f times the base rate.', e.auc,
    e.auc_error, e.average_precision, e.lift)
end

local function counts(c)
  return { ('%.3g'):format(c.threshold), tostring(c.alarms), tostring(c.true_positives),
    tostring(c.false_positives), tostring(c.false_negatives), share(c.precision), share(c.recall),
    number(c.alarms_per_week, '%.1f') }
end

local HEADS = { 'above', 'rows', 'right', 'false', 'missed', 'precision', 'recall', 'alarms/week' }

local function levels(e)
  local rows = {}
  for i, c in ipairs(e.levels) do rows[i] = { c.level, table.unpack(counts(c)) } end
  table_of('At each level', { 'level', table.unpack(HEADS) }, rows)
end

local function thresholds(e)
  local rows = {}
  for i, c in ipairs(e.thresholds) do
    local wanted = c.by == 'precision' and ('%.0f %% right'):format(100 * c.wanted)
      or ('%d a week'):format(c.wanted)
    rows[i] = { wanted, table.unpack(counts(c)) }
  end
  if #rows == 0 then return end
  table_of('Thresholds for what is wanted', { 'wanted', table.unpack(HEADS) }, rows)
end

local function calibration(e)
  local rows = {}
  for i, b in ipairs(e.calibration) do
    rows[i] = { ('%.4g to %.4g'):format(b.lower, b.upper), tostring(b.count),
      share(b.mean_predicted), share(b.observed) }
  end
  table_of('Calibration', { 'probability', 'rows', 'predicted', 'observed' }, rows)
end

local function importances(list)
  local rows = {}
  for i = 1, math.min(10, #list) do
    rows[i] = { list[i].feature, share(list[i].importance) }
  end
  table_of('What the model goes by', { 'feature', 'importance' }, rows)
end

--- Prints a summary, and its warnings on standard error.
---@param s table
---@param horizon? string
function view.print(s, horizon)
  local e = s.evaluation
  line('%d rows, %d failures%s (%s), %d features; %d trees of depth %d.', s.rows, s.failures,
    horizon and ' within ' .. horizon or '', share(s.base_rate), #s.features, s.trees, s.depth)
  if s.excluded_during_alert then
    line('%d rows while the alert fired are left out.', s.excluded_during_alert)
  end
  line(s.split.by == 'time' and 'Held out: the last %d rows, %d failures (%s).'
    or 'Held out by chance: %d rows, %d failures (%s).', e.rows, e.positives, share(e.base_rate))
  print()
  ranking(e)
  line('Probability: log-loss %.4f, %.4f by the base rate alone; Brier %.4f and %.4f; off by %s on '
    .. 'average.', e.log_loss, e.prior_log_loss, e.brier, e.prior_brier, share(e.calibration_error))
  levels(e)
  thresholds(e)
  calibration(e)
  importances(s.importances)
  print()
  line(s.refit and 'Trained anew on all rows and written to %s.'
    or 'Written to %s, trained without the rows held out.', s.model)
  for _, w in ipairs(s.warnings) do cli.error('warning: ' .. cli.plain(w.message)) end
end

return view
