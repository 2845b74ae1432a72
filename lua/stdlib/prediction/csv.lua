--- CSV files with a column a feature: which columns there are, and the rows as a matrix.
local check = require 'check'
local matrix = require 'matrix'

local csv = {}

--- The fields of a record that lies on one line.
local function fields(line)
  local out, at = {}, 1
  line = line:gsub('\r$', '')
  repeat
    local text, after = line:match('^"(.-)"()', at)
    if text then
      local more, behind = line:match('^("[^"]*)"()', after) -- a quote inside is doubled
      while more do
        text, after = text .. more, behind
        more, behind = line:match('^("[^"]*)"()', after)
      end
      at = line:match('^[^,]*()', after)
    else
      text, at = line:match('^([^,]*)()', at)
    end
    out[#out + 1] = text
    at = at + 1
  until at > #line + 1
  return out
end

--- The names in the first line of a file.
---@param path string
---@return string[]? names
---@return string? message
function csv.columns(path)
  local f <close>, message = io.open(path, 'r')
  if not f then return nil, 'cannot read ' .. message end
  local line = f:read 'l'
  if not line then return nil, path .. ': is empty or no file' end
  return fields((line:gsub('^\xEF\xBB\xBF', '')))
end

--- The position of a name among names; nil and words where it is not there.
function csv.find(path, names, name)
  for i, other in ipairs(names) do
    if other == name then return i end
  end
  return nil, ('%s:1: there is no column "%s"%s'):format(path, name,
    check.nearest(name, names) and ('; did you mean "%s"?'):format(check.nearest(name, names))
      or '')
end

-- -- times ----------------------------------------------------------------------------------------

--- Days from 1970-01-01 to a date of the Gregorian calendar.
local function days(year, month, day)
  local y = month <= 2 and year - 1 or year
  local era = y // 400
  local of_era = y - era * 400
  local of_year = (153 * (month + (month > 2 and -3 or 9)) + 2) // 5 + day - 1
  return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468
end

--- Unix seconds of RFC 3339, of "YYYY-MM-DD HH:MM:SS" in UTC, or a number; nil of anything else.
---@param text string
---@return number?
function csv.time(text)
  local number = tonumber(text)
  if number then return number end
  local y, mo, d, h, mi, s, zone =
    text:match '^(%d%d%d%d)%-(%d%d)%-(%d%d)[T ](%d%d):(%d%d):(%d%d%.?%d*)(.*)$'
  if not y then return nil end
  local t = days(tonumber(y), tonumber(mo), tonumber(d)) * 86400 + tonumber(h) * 3600
    + tonumber(mi) * 60 + tonumber(s)
  if zone == '' or zone == 'Z' or zone == 'z' then return t end
  local sign, zh, zm = zone:match '^([+-])(%d%d):(%d%d)$'
  if not sign then return nil end
  local offset = tonumber(zh) * 3600 + tonumber(zm) * 60
  return sign == '+' and t - offset or t + offset
end

--- The times of a column that holds no numbers. Records lie on one line each.
local function read_times(path, column)
  local out, n = {}, 0
  for line in io.lines(path) do
    n = n + 1
    if n > 1 and line ~= '' and line ~= '\r' then
      local text = fields(line)[column] or ''
      local t = csv.time(text)
      if not t and text ~= '' then
        return nil, ('%s:%d: "%s" is no time; expected Unix seconds, RFC 3339, or '
          .. 'YYYY-MM-DD HH:MM:SS'):format(path, n, text:sub(1, 40))
      end
      out[#out + 1] = t or 0 / 0
    end
  end
  return out
end

--- Whether the first record holds a number there.
local function is_numeric(path, column)
  local f <close> = io.open(path, 'r')
  local _, line = f and f:read 'l', f and f:read 'l'
  local text = line and fields(line)[column] or ''
  return text == '' or tonumber(text) ~= nil
end

-- -- rows -----------------------------------------------------------------------------------------

---@class csv.Training
---@field X matrix.Matrix
---@field y number[]
---@field times? number[]

--- What is trained on.
---@param path string
---@param label string
---@param o { time?: string, features?: string[] }  features: all other columns
---@return csv.Training? data
---@return string? message
function csv.training(path, label, o)
  local names, message = csv.columns(path)
  if not names then return nil, message end
  local at, column
  at, message = csv.find(path, names, label)
  if not at then return nil, message end
  if o.time then
    column, message = csv.find(path, names, o.time)
    if not column then return nil, message end
  end
  local features = o.features
  if not features then
    features = {}
    for _, name in ipairs(names) do
      if name ~= label and name ~= o.time then features[#features + 1] = name end
    end
  end
  for _, name in ipairs(features) do
    if name == label or name == o.time then
      return nil, ('"%s" is the %s and cannot be a feature'):format(name,
        name == label and 'label' or 'time')
    end
  end
  if #features == 0 then return nil, path .. ': there is no feature beside the label' end
  local wanted, numeric = { label, table.unpack(features) }, column and is_numeric(path, column)
  if numeric then wanted[#wanted + 1] = o.time end
  local m
  m, message = matrix.read_csv(path, { columns = wanted })
  if not m then
    local is_text = not o.features and message:find('is no number', 1, true)
    return nil, message .. (is_text and '; --features names the columns that are features' or '')
  end
  local times
  if numeric then
    times = m:column(o.time)
  elseif column then
    times, message = read_times(path, column)
    if not times then return nil, message end
    if #times ~= m.rows then return nil, path .. ': a record goes over several lines' end
  end
  return { X = m:select(features), y = m:column(label), times = times }
end

--- What is predicted for: the columns of these names that the file has, in their order.
---@param path string
---@param wanted string[]
---@return matrix.Matrix? m
---@return string|string[]  message, or the names that the file lacks
function csv.rows(path, wanted)
  local names, message = csv.columns(path)
  if not names then return nil, message end
  local there, missing = {}, {}
  for _, name in ipairs(wanted) do
    local list = csv.find(path, names, name) and there or missing
    list[#list + 1] = name
  end
  if #there == 0 then
    return nil, ('%s:1: no column is a feature of the model, which are %s'):format(path,
      table.concat(wanted, ', ', 1, math.min(#wanted, 20)))
  end
  local m
  m, message = matrix.read_csv(path, { columns = there })
  if not m then return nil, message end
  return m, missing
end

return csv
