--- Series from files: CSV with a column of times and one of values, as spreadsheets, databases and
--- Prometheus' friends export them.
local core = require 'perigee.series_file'

---@class series_file.Series
---@field name string                    the file's, without folder and extension
---@field labels table<string, string>   __name__ alone
---@field ds number[]                    Unix seconds, ascending
---@field y number[]                     NaN is missing

local series_file = {}

local function name_of(path)
  local base = path:match '[^/]+$' or path
  return base:match '^(.+)%.[^.]+$' or base
end

--- Reads a CSV file (RFC 4180) whose first line names the columns. The time is `ts`, `ds` or
--- `timestamp`: Unix seconds, RFC 3339, or `YYYY-MM-DD HH:MM:SS` in UTC; the value is `y` or
--- `value`, missing where the field is empty; other columns are ignored. Rows may come in any
--- order, and times more than once. Waits while a thread reads a large file; at most 1 GiB.
---@param path string
---@return series_file.Series? series
---@return string? message  "path:line:column: what is wrong"
function series_file.read_csv(path)
  local ds, y = core.read_csv(path)
  if not ds then return nil, y end
  local name = name_of(path)
  return { name = name, labels = { __name__ = name }, ds = ds, y = y }
end

--- Unix seconds of a text that is a time in any of the ways that read_csv() knows; nil elsewhere.
---@type fun(text: string): number?
series_file.time = core.time

return series_file
