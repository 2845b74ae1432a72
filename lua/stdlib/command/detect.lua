--- `perigee detect`: learns what is normal in series and tells what in them is not.
local check = require 'check'
local cli = require 'command.cli'
local clock = require 'perigee.clock'
local features = require 'features'
local json = require 'perigee.json'
local load_series = require 'command.series'
local number_text = require('prometheus').number_text
local units = require 'units'
local vocabulary = require 'rules.vocabulary'

local SPEC = {
  usage = 'detect EXPR | --data FILE',
  summary = 'Learns what is normal in the history of series, and judges every sample of it.',
  details = [[
EXPR is asked of the source over --history in steps of --step; a file is taken whole, or its
last --history. The detector learns from all of that and judges all of it; what it says of the
last sample is its verdict on now.]],
  most = 1,
  options = cli.options(load_series.OPTIONS, {
    { name = 'detector', value = 'NAME', help = 'isolation_forest (default), forecast_band, …' },
    { name = 'set', value = 'NAME=VALUE', many = true,
      help = 'an option of the detector: contamination=0.01; may be repeated' },
    { name = 'plot', value = 'FILE.svg',
      help = 'draws the chart; those of further series as FILE-2.svg, …' },
    { name = 'fail-on', value = 'anomaly', help = 'status 1 if the last sample of any is one' },
    cli.JSON,
  }),
}

local MOST_EPISODES = 10 -- in the table

-- -- the detector ---------------------------------------------------------------------------------

--- Those that stand alone.
local function names()
  local out = {}
  for _, name in ipairs(vocabulary.detectors) do
    if name ~= 'combine' then out[#out + 1] = name end
  end
  return out
end

--- What a text on the command line stands for: a list where it has commas, a number, a text.
local function value_of(text)
  if text:find(',', 1, true) then
    local list = {}
    for part in text:gmatch '[^,%s]+' do list[#list + 1] = part end
    return list
  end
  return tonumber(text) or text
end

--- The detector that is asked for, and its options.
---@return { factory: table, options: table }?
local function wanted(values)
  local name = values.detector or 'isolation_forest'
  local known = names()
  if check.one_of(nil, known).test(name) then
    return cli.refuse(check.unknown('detector', name, known))
  end
  local options = {}
  for _, pair in ipairs(values.set or {}) do
    local option, text = pair:match '^([%w_]+)=(.*)$'
    if not option then
      return cli.refuse(('--set: expected NAME=VALUE, not "%s"'):format(cli.plain(pair)))
    end
    options[option] = value_of(text)
  end
  return { factory = require('detectors.' .. name), options = options }
end

--- The detector for one series: of a file's, the step is what its times say.
---@return Detector?
local function build(want, series, step)
  local options = {}
  for name, value in pairs(want.options) do options[name] = value end
  if want.factory.spec.step and options.step == nil then
    options.step = units.duration_text(step or features.step_of(series.ds))
  end
  local o, problems = check.apply(options, want.factory.spec)
  if problems[1] then return cli.refuse('--set: ' .. cli.plain(check.words(problems[1]))) end
  local ok, detector = pcall(want.factory.build, o)
  if not ok then return cli.refuse(('%s: %s'):format(want.factory.name, detector)) end
  return detector
end

-- -- judging --------------------------------------------------------------------------------------

local function judge_each(detector, model, series)
  local out = {}
  for i, value in ipairs(series.y) do
    out[i] = value == value and detector.judge(model, value, series.ds[i], series.labels)
  end
  return out
end

local MISSING = { is_anomaly = false, reason = 'the value is missing' }

--- What the detector says of each sample; false for those that are missing.
local function judge(detector, series)
  local model
  if detector.fit then
    local why
    model, why = detector.fit(series.y, series.ds)
    if not model then
      local none = {}
      for i, value in ipairs(series.y) do
        none[i] = value == value and { is_anomaly = false, reason = why }
      end
      return none
    end
  end
  if detector.judge_history then
    return detector.judge_history(model, series.y, series.ds), model
  end
  return judge_each(detector, model, series), model
end

---@class detect.Result
---@field series command.Series
---@field detector Detector
---@field model? table
---@field verdicts (Verdict|false)[]
---@field latest Verdict
---@field anomalies integer[]  where in the series

---@return detect.Result
local function result_of(series, detector)
  local verdicts, model = judge(detector, series)
  local anomalies = {}
  for i, v in ipairs(verdicts) do
    if v and v.is_anomaly then anomalies[#anomalies + 1] = i end
  end
  return { series = series, detector = detector, model = model, verdicts = verdicts,
    latest = verdicts[#verdicts] or MISSING, anomalies = anomalies }
end

-- -- as JSON --------------------------------------------------------------------------------------

--- A number as JSON has it: null for what is missing, a text for what is infinite.
local function plain_number(x)
  if x == nil or x ~= x then return json.null end
  return x - x == 0 and x or number_text(x)
end

local function document(r)
  local ds, y, anomalies = r.series.ds, r.series.y, json.array()
  for k, i in ipairs(r.anomalies) do
    local v = r.verdicts[i]
    anomalies[k] = { time = ds[i], value = plain_number(y[i]),
      anomaly_score = plain_number(v.anomaly_score), confidence = plain_number(v.confidence) }
  end
  return { labels = r.series.labels, detector = r.detector.name, anomalies = anomalies,
    latest = { time = ds[#ds], value = plain_number(y[#y]), is_anomaly = r.latest.is_anomaly,
      anomaly_score = plain_number(r.latest.anomaly_score),
      confidence = plain_number(r.latest.confidence), reason = r.latest.reason } }
end

-- -- for people -----------------------------------------------------------------------------------

local BLOCKS = 24 -- of the sparkline

local function name_of(series)
  local labels = {}
  for name, value in pairs(series.labels) do
    if name ~= '__name__' then labels[name] = value end
  end
  local text = cli.labels_text(labels)
  return text == '' and series.name or ('%s{%s}'):format(series.name, text)
end

local function number(x, format) return x and x == x and (format):format(x) or '-' end

local function word_of(v)
  if v.is_anomaly then return 'anomaly' end
  return v.confidence and 'ok' or v == MISSING and 'missing' or 'no baseline'
end

local function show(results)
  local plot, rows = require 'plot', {}
  for i, r in ipairs(results) do
    local y = r.series.y
    rows[i] = { name_of(r.series), y[#y] == y[#y] and units.number_text(y[#y]) or '-',
      word_of(r.latest), number(r.latest.anomaly_score, '%.3g'),
      number(r.latest.confidence, '%.0f %%'), ('%d of %d'):format(#r.anomalies, #y),
      plot.sparkline(y, BLOCKS), r.latest.reason }
  end
  cli.table({ 'SERIES', 'LAST', 'VERDICT', 'SCORE', 'CONFIDENCE', 'ANOMALIES', 'HISTORY',
    'REASON' }, rows)
end

--- Anomalies that follow each other, as one: the oddest of each.
local function episodes(r)
  local out, last = {}, nil
  for _, i in ipairs(r.anomalies) do
    local e = out[#out]
    if not e or i > last + 1 then
      e = { first = i, top = i }
      out[#out + 1] = e
    end
    e.last, last = i, i
    if r.verdicts[i].anomaly_score > r.verdicts[e.top].anomaly_score then e.top = i end
  end
  table.sort(out, function(a, b)
    local x, y = r.verdicts[a.top].anomaly_score, r.verdicts[b.top].anomaly_score
    if x ~= y then return x > y end
    return a.first < b.first
  end)
  return out
end

local function show_episodes(r)
  local list, rows = episodes(r), {}
  for k = 1, math.min(#list, MOST_EPISODES) do
    local e = list[k]
    local v = r.verdicts[e.top]
    rows[k] = { cli.time_text(clock.text(r.series.ds[e.first])),
      units.duration_text(r.series.ds[e.last] - r.series.ds[e.first]),
      number(v.anomaly_score, '%.3g'), number(v.confidence, '%.0f %%'), v.reason }
  end
  if #rows == 0 then return end
  print(('\n%s'):format(#list > #rows and ('The oddest of %d episodes:'):format(#list)
    or 'What was odd:'))
  cli.table({ 'FROM', 'LASTED', 'SCORE', 'CONFIDENCE', 'AT ITS ODDEST' }, rows)
end

-- -- pictures -------------------------------------------------------------------------------------

local function chart(r)
  local plot = require 'plot'
  local ds, y = r.series.ds, r.series.y
  local markers = {}
  for k, i in ipairs(r.anomalies) do
    markers[k] = { at = ds[i], value = y[i], kind = 'anomaly' }
  end
  local out = { title = name_of(r.series), unit = plot.unit_of(r.series.name), markers = markers,
    subtitle = ('%s: %d of %d samples are odd'):format(r.detector.name, #r.anomalies, #y),
    lines = { { ds = ds, y = y, label = 'history' } } }
  if r.model and r.detector.expects then
    local e = r.detector.expects(r.model, ds)
    out.lines[2] = { ds = ds, y = e.yhat, kind = 'fit', label = 'expected' }
    out.bands = { { ds = ds, lower = e.yhat_lower, upper = e.yhat_upper, label = 'band' } }
  end
  return assert(plot.chart(out))
end

-- -- all of it ------------------------------------------------------------------------------------

local function print_results(results, values)
  if not values.json then
    show(results)
    if #results == 1 then show_episodes(results[1]) end
    return
  end
  local list = json.array()
  for i, r in ipairs(results) do list[i] = document(r) end
  cli.print_json { series = list }
end

return function(...)
  local values, status = cli.parse(SPEC, ...)
  if not values then return status end
  local fail_on = values['fail-on']
  if fail_on and fail_on ~= 'anomaly' then
    cli.error('--fail-on: ' .. check.expected('anomaly', fail_on))
    return cli.USAGE
  end
  local want, list, step, detector
  want, status = wanted(values)
  if not want then return status end
  list, status = load_series.load(values, { history = '14d', step = '5m' })
  if not list then return status end
  step, status = load_series.duration(values, 'step', not values.data and '5m' or nil)
  if status then return status end
  local results, progress <close> = {}, cli.progress()
  for i, series in ipairs(list) do
    progress:tell(('judging series %d of %d'):format(i, #list))
    detector, status = build(want, series, step)
    if not detector then return status end
    results[i] = result_of(series, detector)
  end
  progress:close()
  if values.plot then
    local drawn, failed = load_series.draw(results, values.plot, chart)
    if not drawn then return failed end
  end
  print_results(results, values)
  for _, r in ipairs(results) do
    if fail_on and r.latest.is_anomaly then return cli.NOT_AS_IT_SHOULD_BE end
  end
  return cli.DONE
end
