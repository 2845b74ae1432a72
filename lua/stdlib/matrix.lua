--- Tables of numbers with named columns, as the models take them: row-major doubles, NaN is
--- missing. They live outside of Lua's own memory, at eight bytes a number, and never change.
local check = require 'check'
local core = require 'perigee.matrix'

---@class matrix.Matrix
---@field rows integer
---@field columns integer
---@field names? string[]  nil where the columns have none
---@field get fun(self: matrix.Matrix, row: integer, column: integer|string): number  both from 1
---@field column fun(self: matrix.Matrix, column: integer|string): number[]
---@field select fun(self: matrix.Matrix, columns: (integer|string)[]): matrix.Matrix  in that order
---@field slice fun(self: matrix.Matrix, first: integer, last?: integer): matrix.Matrix  of rows
---@field pick fun(self: matrix.Matrix, rows: integer[]): matrix.Matrix  those rows, in that order
---@field to_rows fun(self: matrix.Matrix): number[][]

local matrix = {}

local CSV = {
  columns = check.list_of(check.string()),
  delimiter = {
    default = ',',
    test = function(v)
      if type(v) ~= 'string' or not v:find('^[^"\r\n]$') then
        return check.expected('one byte that is no quote and no end of line', v)
      end
    end,
  },
}

---@class matrix.CsvOptions
---@field columns? string[]   those wanted, in the order of the result; all of them
---@field delimiter? string   ","

--- Reads a CSV file (RFC 4180) whose first line names the columns. An empty field is NaN; a field
--- of a wanted column that is no number is an error with line and column. Waits while a thread
--- reads; files of up to 1 GiB.
---@param path string
---@param options? matrix.CsvOptions
---@return matrix.Matrix? matrix
---@return string? message  "path:line:column: what is wrong"
function matrix.read_csv(path, options)
  local o = check.options('matrix.read_csv', options, CSV)
  return core.read_csv(path, o.columns, o.delimiter)
end

--- From an array of rows, all of one length; NaN and false stand for missing values.
---@type fun(rows: (number|false)[][], names?: string[]): matrix.Matrix
matrix.from_rows = core.from_rows

--- From an array of columns, all of one length.
---@type fun(columns: (number|false)[][], names?: string[]): matrix.Matrix
matrix.from_columns = core.from_columns

return matrix
