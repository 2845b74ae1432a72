--- How good the forecasts of model = "auto" are beside Prophet's, on rolling origins: seven days
--- ahead from at most thirty, in hours, with 80 % intervals; and how well it tells when a threshold
--- will be reached, on made series whose level beneath the noise is known. Real Prophet (R) answers
--- the same questions in the same run; PROPHET_CACHE=FOLDER keeps its answers. A short run looks at
--- a few origins only, and holds nobody to goals.
local clock = require 'perigee.clock'
local file = require 'perigee.file'
local lib = require 'lib'
local process = require 'perigee.process'
local seasonal = require 'seasonal'
local series = require 'forecast_series'

local DAY <const>, AHEAD <const> = 86400, 7
local short = os.getenv 'BENCH_SHORT' == '1'

-- -- the questions --------------------------------------------------------------------------------

local all = {}
for _, name in ipairs(series.REAL) do all[#all + 1] = series.load(name) end
local real <const> = #all
for _, name in ipairs(series.SYNTHETIC) do all[#all + 1] = series.load(name) end
local shared = #all
if shared == 0 then print '  the shared series are absent: made ones only, which have no goals' end
for i = 1, series.MADE do all[#all + 1] = series.made(i) end

local jobs = {}
local function add(s, kind, j, origin, ahead, breach)
  local past, future = series.cut(s, origin, ahead)
  jobs[#jobs + 1] = { id = ('%s-%s%02d'):format(s.name, kind:sub(1, 1), j), kind = kind, series = s,
    past = past, future = future, breach = breach or math.huge, ahead = ahead }
end

for k, s in ipairs(all) do
  -- The made series are for breach times; their accuracy counts where there is nothing else.
  if (k <= shared or shared == 0) and (not short or k % 5 == 1) then
    local span = (s.ds[#s.ds] - s.ds[1]) / DAY
    local least = span < 35 and 16 or 23
    for j, origin in ipairs(series.origins(s, short and 1 or 12, least, AHEAD)) do
      add(s, 'accuracy', j, origin, AHEAD)
    end
  end
  if s.threshold then
    for j, b in ipairs(series.breaches(s)) do
      if not short or (k % 8 == 0 and j == 9) then
        add(s, 'breach', j, b.origin, b.ahead, b.breach)
      end
    end
  end
end

-- -- Prophet's answers ----------------------------------------------------------------------------

local function number(v) return v == v and ('%.17g'):format(v) or '' end

local function write_questions(folder)
  local index = { 'id,kind,threshold,breach,ahead' }
  for _, job in ipairs(jobs) do
    index[#index + 1] = ('%s,%s,%s,%s,%s'):format(job.id, job.kind,
      job.series.threshold and number(job.series.threshold) or '', '', job.ahead)
    local rows = { 'ds,y,part' }
    for part, what in ipairs { job.past, job.future } do
      for i, ds in ipairs(what.ds) do
        rows[#rows + 1] = ('%d,%s,%d'):format(ds, number(what.y[i]), part - 1)
      end
    end
    assert(file.write(('%s/%s.csv'):format(folder, job.id), table.concat(rows, '\n') .. '\n'))
  end
  assert(file.write(folder .. '/jobs.csv', table.concat(index, '\n') .. '\n'))
end

--- Columns of numbers by name; nil where R has written none.
local function read_answer(path)
  local text = file.read(path)
  if not text then return nil end
  local names, columns = {}, {}
  for name in text:match '^[^\n]+':gmatch '"([^"]*)"' do
    names[#names + 1] = name
    columns[name] = {}
  end
  for line in text:gsub('^[^\n]+\n', ''):gmatch '[^\n]+' do
    local i = 0
    for field in line:gmatch '[^,]+' do
      i = i + 1
      table.insert(columns[names[i]], tonumber(field))
    end
  end
  return columns
end

local function ask_prophet(folder)
  local child = process.start { 'Rscript', 'bench/forecast_prophet.R', folder,
    output = folder .. '/log' }
  return child and child:wait(3600) == 0
end

-- -- measures -------------------------------------------------------------------------------------

--- Mean absolute error, mean Winkler score of 80 % intervals, and the share inside.
local function measure(y, f)
  local mae, winkler, inside, n = 0, 0, 0, 0
  for i, v in ipairs(y) do
    if v == v then
      local low, high = f.yhat_lower[i], f.yhat_upper[i]
      mae, n = mae + math.abs(f.yhat[i] - v), n + 1
      winkler = winkler + high - low + 10 * math.max(low - v, 0, v - high)
      if v >= low and v <= high then inside = inside + 1 end
    end
  end
  return { mae = mae / n, winkler = winkler / n, inside = inside / n }
end

local function mean(list, f)
  local sum = 0
  for _, v in ipairs(list) do sum = sum + f(v) end
  return sum / #list
end

--- Per series the ratio of the mean over its origins, then the geometric mean over series.
local function ratio(groups, field)
  return math.exp(mean(groups, function(g)
    return math.log(mean(g, function(x) return x.ours[field] end)
      / mean(g, function(x) return x.theirs[field] end))
  end))
end

local function report_accuracy(what, groups)
  local count = 0
  for _, g in ipairs(groups) do count = count + #g end
  local function covered(who)
    return mean(groups, function(g) return mean(g, function(x) return x[who].inside end) end)
  end
  local origins = ('%s: %d origins, %d series'):format(what, count, #groups)
  local mae, winkler, inside = ratio(groups, 'mae'), ratio(groups, 'winkler'), covered 'ours'
  if short or shared == 0 then
    lib.row(origins .. ', MAE / Prophet', ('%.3f'):format(mae), '')
    lib.row('  Winkler score / Prophet', ('%.3f'):format(winkler), '')
    lib.row('  coverage of 80 % intervals', ('%.3f'):format(inside), '')
  else
    lib.at_most(origins .. ', MAE / Prophet', mae, '', 0.80, '%.3f')
    lib.at_most('  Winkler score / Prophet', winkler, '', 0.80, '%.3f')
    lib.row('  coverage of 80 % intervals', ('%.3f'):format(inside), '', '0.74 to 0.86',
      inside >= 0.74 and inside <= 0.86)
  end
  lib.row('  Prophet\'s coverage', ('%.3f'):format(covered 'theirs'), '')
end

--- Of predictions of breaches: mean error in days, where never is the horizon; false alarms among
--- origins without a breach within a week, misses among those with one.
local function judge(rows, who)
  local err, false_alarms, calm, misses, due = 0, 0, 0, 0, 0
  for _, r in ipairs(rows) do
    err = err + math.abs(math.min(r[who], r.ahead) - math.min(r.breach, r.ahead)) / #rows
    if r.breach <= AHEAD then
      due, misses = due + 1, misses + (r[who] > AHEAD and 1 or 0)
    else
      calm, false_alarms = calm + 1, false_alarms + (r[who] <= AHEAD and 1 or 0)
    end
  end
  return { error = err, false_alarms = 100 * false_alarms / math.max(calm, 1),
    misses = 100 * misses / math.max(due, 1), due = due }
end

local function report_breaches(rows)
  local ours, theirs, yhat = judge(rows, 'ours'), judge(rows, 'path'), judge(rows, 'yhat')
  local text = '%.1f d, %.0f %%, %.0f %%'
  local function show(j) return text:format(j.error, j.false_alarms, j.misses) end
  print(('  breach times, %d origins, %d of them with a breach within 7 d: error, false, missed')
    :format(#rows, ours.due))
  local better = nil
  if not short then
    better = ours.error < theirs.error and ours.false_alarms <= theirs.false_alarms
      and ours.misses <= theirs.misses
  end
  local goal = not short and 'error and false alarms below, misses not above' or nil
  lib.row('  median of time_to', show(ours), '', goal, better)
  lib.row('  Prophet, median path', show(theirs), '')
  lib.row('  Prophet, yhat', show(yhat), '')
end

-- -- the run --------------------------------------------------------------------------------------

local folder <const>, _gone <close> = lib.folder()
local answers = os.getenv 'PROPHET_CACHE' or folder
assert(file.make_folder(answers))
write_questions(answers)
local prophet = ask_prophet(answers)

local groups, by_series, breaches, seconds = {}, {}, {}, {}
for _, job in ipairs(jobs) do
  local began = clock.monotonic()
  local model = assert(seasonal.fit(job.past.ds, job.past.y, { model = 'auto' }))
  seconds[#seconds + 1] = clock.monotonic() - began
  local theirs = prophet and read_answer(('%s/%s.prophet.csv'):format(answers, job.id))
  if job.kind == 'accuracy' and theirs then
    local group = by_series[job.series.name]
    if not group then
      group = { real = #groups < real }
      by_series[job.series.name] = group
      groups[#groups + 1] = group
    end
    group[#group + 1] = { ours = measure(job.future.y, model:predict(job.future.ds)),
      theirs = measure(job.future.y, theirs) }
  elseif job.kind == 'breach' then
    local function days(v) return v and v >= 0 and v or math.huge end
    local reach = model:time_to(job.series.threshold, job.ahead * DAY)
    local median = reach.quantiles[0.5]
    breaches[#breaches + 1] = { breach = job.breach, ahead = job.ahead,
      ours = median and median / DAY or math.huge,
      path = theirs and days(theirs.path[1]), yhat = theirs and days(theirs.yhat[1]) }
  end
end

table.sort(seconds)
lib.row('model = "auto", fit of at most 720 rows, fastest of all',
  ('%.1f'):format(seconds[1] * 1e3), 'ms')
if not prophet then
  lib.row('Prophet (R)', 'not measured', '')
else
  report_accuracy('all series', groups)
  local only = {}
  for _, g in ipairs(groups) do
    if g.real then only[#only + 1] = g end
  end
  if #only > 0 and #only < #groups then report_accuracy('real series', only) end
  if #breaches > 0 then report_breaches(breaches) end
end
