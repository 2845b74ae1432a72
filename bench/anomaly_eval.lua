--- How well a detector finds what experts have labelled in real series: row-wise ROC-AUC and
--- average precision, and the share of labelled events of which some row scores above 99 % of all
--- others.
local file = require 'perigee.file'
local matrix = require 'matrix'
local measures = require 'measures'

local eval = {}

eval.FOLDER = '../shared/data/anomaly'

---@class anomaly.Series
---@field name string
---@field ds number[], y number[], label integer[]  in order of time

--- One labelled series: ts, value, label. Rows of one time stay in order.
local function read(path)
  local m = assert(matrix.read_csv(path, { columns = { 'ts', 'value', 'label' } }))
  local rows = m:to_rows()
  for i, row in ipairs(rows) do row.at = i end
  table.sort(rows, function(a, b)
    if a[1] ~= b[1] then return a[1] < b[1] end
    return a.at < b.at
  end)
  local s = { name = path:match '([^/]+)%.csv$', ds = {}, y = {}, label = {} }
  for i, row in ipairs(rows) do s.ds[i], s.y[i], s.label[i] = row[1], row[2], row[3] end
  return s
end

--- The labelled series, or nil where the data is not there.
---@return anomaly.Series[]?
function eval.series()
  local list = {}
  for _, pattern in ipairs { 'nab_*.csv', 'mscloud_*.csv' } do
    for _, path in ipairs(file.glob(('%s/%s'):format(eval.FOLDER, pattern)) or {}) do
      list[#list + 1] = read(path)
    end
  end
  return #list > 0 and list or nil
end

--- The score that `share` of the scores do not pass, as numpy's percentile.
local function quantile(scores, share)
  local sorted = table.move(scores, 1, #scores, 1, {})
  table.sort(sorted)
  local at = share * (#sorted - 1)
  local low = math.floor(at)
  local a, b = sorted[low + 1], sorted[math.min(low + 2, #sorted)]
  return a + (at - low) * (b - a)
end

--- The share of the runs of label 1 in which some row scores above the 99th percentile of the rest.
function eval.event_recall(label, scores)
  local quiet = {}
  for i, l in ipairs(label) do
    if l == 0 then quiet[#quiet + 1] = scores[i] end
  end
  local limit, events, found, seen = quantile(quiet, 0.99), 0, 0, true
  for i, l in ipairs(label) do
    if l == 1 then
      if label[i - 1] ~= 1 then events, seen = events + 1, false end
      if not seen and scores[i] > limit then found, seen = found + 1, true end
    end
  end
  return events > 0 and found / events or nil
end

---@class anomaly.Figures
---@field auc number, ap number, recall number

--- The figures of scores (higher is odder) for one series; nil where nothing is labelled.
---@return anomaly.Figures?
function eval.figures(label, scores)
  local recall = eval.event_recall(label, scores)
  if not recall then return nil end
  local m = assert(measures.of(label, scores))
  return { auc = m:auc(), ap = m:average_precision(), recall = recall }
end

--- The mean of a list of figures.
function eval.mean(list)
  local out = { auc = 0, ap = 0, recall = 0 }
  for _, f in ipairs(list) do
    for name in pairs(out) do out[name] = out[name] + f[name] / #list end
  end
  return out
end

return eval
