--- Combine: several detectors on one value; an anomaly where all of them say so, any, or k.
local check = require 'check'
local types = require 'detectors.types'

---@class combine.Options  exactly one of the three
---@field all? Detector[]
---@field any? Detector[]
---@field k_of? table  { k, detector, detector, … }
local SPEC = { all = check.list_of(check.any()), any = check.list_of(check.any()),
  k_of = check.list_of(check.any()) }

local function read(o)
  local how, parts
  for _, name in ipairs { 'all', 'any', 'k_of' } do
    local value = o[name]
    if value and how then types.refuse(('one of "%s" and "%s", not both'):format(how, name)) end
    if value then how, parts = name, { table.unpack(value) } end
  end
  if not how then types.refuse('one of "all", "any" and "k_of" is needed') end
  if #parts == 0 then types.refuse(('"%s" holds no detector'):format(how)) end
  local k = how == 'all' and #parts or how == 'any' and 1 or table.remove(parts, 1)
  if math.type(k) ~= 'integer' or k < 1 or k > #parts then
    types.refuse(('"k_of" takes a number from 1 to %d, then detectors: k_of = { 2, …, … }'):format(
      math.max(#parts, 1)))
  end
  for i, part in ipairs(parts) do
    if type(part) ~= 'table' or type(part.judge) ~= 'function' then
      types.refuse(('%s[%d] is no detector'):format(how, i))
    end
  end
  return how, k, parts
end

--- The history that serves every part: the longest, in the finest steps, as fresh as the freshest.
local function history_of(parts)
  local h
  for _, part in ipairs(parts) do
    local p = part.history
    if p and not h then h = { range = p.range, step = p.step, retrain = p.retrain }
    elseif p then
      h = { range = math.max(h.range, p.range), step = math.min(h.step, p.step),
        retrain = math.min(h.retrain, p.retrain) }
    end
  end
  return h
end

--- What its parts need to see, each step once.
local function windows_of(parts)
  local by_step, out = {}, {}
  for _, part in ipairs(parts) do
    for _, w in ipairs(part.windows or {}) do
      if not by_step[w.step] then
        by_step[w.step] = { range = w.range, step = w.step }
        out[#out + 1] = by_step[w.step]
      end
      by_step[w.step].range = math.max(by_step[w.step].range, w.range)
    end
  end
  return #out > 0 and out or nil
end

local function any_calls_rule(parts)
  for _, part in ipairs(parts) do
    if part.calls_rule then return true end
  end
  return false
end

local function since(values, times, from)
  local first = 1
  while times[first] and times[first] < from do first = first + 1 end
  return table.move(values, first, #values, 1, {}), table.move(times, first, #times, 1, {})
end

---@param o combine.Options  with defaults
---@return Detector
local function build(o)
  local how, k, parts = read(o)
  local history = history_of(parts)

  --- A part that finds no baseline is a part that says nothing; the model tells which.
  local function fit(values, times)
    local models, fitted, why = {}, false, nil
    for i, part in ipairs(parts) do
      models[i] = false
      if part.fit then
        local from = times[#times] and times[#times] - part.history.range or 0
        local model, message = part.fit(since(values, times, from))
        models[i] = model or { missing = message }
        fitted, why = fitted or model ~= nil, why or message
      else
        fitted = true
      end
    end
    if not fitted then return nil, why end
    return { models = models }
  end

  local function verdicts(model, value, time, labels, recent)
    local said, missing = {}, nil
    for i, part in ipairs(parts) do
      local m = model and model.models[i] or nil
      if m and m.missing then
        missing = missing or m.missing
      else
        local v, fault = part.judge(m or nil, value, time, labels, recent)
        if not v then return nil, fault end
        if v.confidence then said[#said + 1] = v else missing = missing or v.reason end
      end
    end
    return said, missing
  end

  --- The k-th largest of what the parts say: k of them are at least as odd as that.
  local function judge(model, value, time, labels, recent)
    local said, missing = verdicts(model, value, time, labels, recent)
    if not said then return nil, missing end
    local odd, reasons = 0, {}
    for _, v in ipairs(said) do
      if v.is_anomaly then odd, reasons[#reasons + 1] = odd + 1, v.reason end
    end
    if #said < k then return types.no_baseline(missing) end
    table.sort(said, function(a, b)
      if a.is_anomaly ~= b.is_anomaly then return a.is_anomaly end
      return a.anomaly_score > b.anomaly_score
    end)
    local deciding = said[k]
    return { is_anomaly = odd >= k, anomaly_score = deciding.anomaly_score,
      confidence = deciding.confidence,
      reason = odd > 0 and ('%d of %d: %s'):format(odd, #parts, table.concat(reasons, '; '))
      or deciding.reason }
  end

  return { name = 'combine', options = { [how] = true }, history = history,
    windows = windows_of(parts), calls_rule = any_calls_rule(parts), fit = history and fit or nil,
    judge = judge }
end

return types.detector('combine', SPEC, build)
