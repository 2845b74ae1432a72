--- CSV files with a column a feature: which columns there are, and the rows as a matrix.
local check = require 'check'
local matrix = require 'matrix'
local series_file = require 'series_file'

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

-- -- times --------------------------------------------------------------------------------------

--- Unix seconds of RFC 3339, of "YYYY-MM-DD HH:MM:SS" in UTC, or any number, which need be no time
--- for rows to have an order; nil of anything else.
---@param text string
---@return number?
function csv.time(text) return tonumber(text) or series_file.time(text) end

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

--- Whether the first record that has a field there has a number.
local function is_numeric(path, column)
  local f <close> = io.open(path, 'r')
  local _ = f and f:read 'l'
  for line in f and f:lines() or function() end do
    local text = fields(line)[column] or ''
    if text ~= '' then return tonumber(text) ~= nil end
  end
  return true
end

-- -- rows -----------------------------------------------------------------------------------------

---@class csv.Training
---@field X matrix.Matrix
---@field y number[]
---@field times? number[]

--- All columns but the label and the time; nil and words where one has no name, as the numbers of
--- the rows that some programs write into the first column.
local function all_features(path, names, label, time)
  local out = {}
  for i, name in ipairs(names) do
    if name == '' then
      return nil, ('%s:1: column %d has no name; --features names the columns that are features')
        :format(path, i)
    end
    if name ~= label and name ~= time then out[#out + 1] = name end
  end
  return out
end

--- Whether a message of the reader is of the text in one of these columns.
local function is_text_of(message, names)
  local column = message:match 'column "(.*)": ".*" is no number'
  for _, name in ipairs(names) do
    if name == column then return true end
  end
  return false
end

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
    features, message = all_features(path, names, label, o.time)
    if not features then return nil, message end
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
    local others = not o.features and is_text_of(message, features)
    return nil, message .. (others and '; --features names the columns that are features' or '')
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
