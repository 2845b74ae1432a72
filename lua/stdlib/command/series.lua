--- Where the commands that work on series have them from: files, or the history of an expression in
--- a source.
local cli = require 'command.cli'
local clock = require 'perigee.clock'
local config = require 'config'
local file = require 'perigee.file'
local log = require 'log'
local prometheus = require 'prometheus'
local series_file = require 'series_file'
local units = require 'units'

local series = {}

local MOST_PLOTS = 50

---@class command.Series
---@field name string                    the metric's, the file's, or the expression
---@field labels table<string, string>   with __name__ where there is one
---@field ds number[]                    Unix seconds, ascending
---@field y number[]                     NaN is missing

series.OPTIONS = {
  { name = 'data', value = 'FILE', many = true,
    help = 'a CSV file with the columns ts (ds, timestamp) and value (y); may be repeated' },
  { name = 'url', value = 'URL', help = 'of the Prometheus that EXPR is asked of' },
  { name = 'config', short = 'c', value = 'CONFIG',
    help = 'the configuration whose source EXPR is asked of; perigee.yaml' },
  { name = 'history', value = 'D', help = 'how far back: "14d"' },
  { name = 'step', value = 'D', help = 'between the samples asked for: "5m"' },
}

--- A duration from the command line in seconds, or nil and a status.
---@param values table
---@param name string       of the option
---@param default? string
---@return number?
function series.duration(values, name, default)
  local text = values[name] or default
  if not text then return nil end
  local seconds, message = units.duration(text)
  if seconds and seconds > 0 then return seconds end
  return cli.refuse(('--%s: %s'):format(name, message or 'expected a time above 0'))
end

--- The last `range` seconds of a series.
local function last(s, range)
  local n = #s.ds
  local from, first = (s.ds[n] or 0) - range, 1
  while first <= n and s.ds[first] < from do first = first + 1 end
  if first == 1 then return s end
  s.ds, s.y = table.move(s.ds, first, n, 1, {}), table.move(s.y, first, n, 1, {})
  return s
end

local function from_files(paths, range)
  local list = {}
  for i, path in ipairs(paths) do
    local s, message = series_file.read_csv(path)
    if not s then return cli.refuse(message) end
    if #s.ds == 0 then return cli.refuse(path .. ': there is no row but the first') end
    list[i] = range and last(s, range) or s
  end
  return list
end

--- The client of what --url or the configuration names.
---@param values table  parsed options
---@return table? client
---@return integer? status  to end with; what is wrong has been told
function series.source(values)
  if values.url then
    if values.config then return cli.refuse 'one of --url and --config, not both' end
    local ok, client = pcall(prometheus.client, { url = values.url })
    if ok then return client end
    return cli.refuse('--url: ' .. tostring(client):match '[^:]*: (expected.*)$')
  end
  local path = values.config or 'perigee.yaml'
  if not values.config and not file.stat(path) then
    return cli.refuse 'where from? --url URL, -c CONFIG, or --data FILE'
  end
  local read, problems = config.read(path)
  if read then return prometheus.connect(read.source.prometheus) end
  for _, p in ipairs(problems) do io.stderr:write(config.problem_text(p), '\n') end
  return nil, cli.USAGE
end

local function from_source(expr, values, range, step)
  local client, status = series.source(values)
  if not client then return nil, status end
  local stop = clock.now() // step * step
  local found, failure = client:query_range(expr, stop - range, stop, step)
  if not found then
    cli.error(cli.plain(failure.message))
    return nil, failure.kind == 'bad_data' and cli.USAGE or cli.OUTSIDE
  end
  if found.partial then
    cli.error('the answer is partial: ' .. cli.plain(table.concat(found.warnings or {}, '; ')))
  end
  if #found == 0 then
    cli.error 'the source has no series for this expression'
    return nil, cli.NOT_AS_IT_SHOULD_BE
  end
  for _, s in ipairs(found) do s.name = s.labels.__name__ or expr end
  return found
end

--- The series that a command line asks for.
---@param values table  parsed options, EXPR in the array part
---@param defaults { history: string, step: string }  of what is asked of a source; a file is taken
---       whole
---@return command.Series[]? list  in the order of the files, or as the source sorts them
---@return integer? status         to end with; what is wrong has been told
function series.load(values, defaults)
  log.setup('warn', false)
  local range, wrong = series.duration(values, 'history', values.data == nil and defaults.history
    or nil)
  if wrong then return nil, wrong end
  local step
  step, wrong = series.duration(values, 'step', defaults.step)
  if wrong then return nil, wrong end
  if (values[1] ~= nil) == (values.data ~= nil) then
    return cli.refuse(values[1] and 'one of EXPR and --data, not both'
      or 'what of? an expression, or --data FILE')
  end
  if not values.data then return from_source(values[1], values, range, step) end
  for _, name in ipairs { 'url', 'config' } do
    if values[name] then return cli.refuse(('--%s has no use with --data'):format(name)) end
  end
  return from_files(values.data, range)
end

--- Draws a chart for each of a list: the first into the file that was named, FILE.svg, the second
--- into FILE-2.svg, up to so many.
---@param list table[]
---@param path string
---@param chart fun(item: table): string  as SVG
---@return boolean? drawn
---@return integer? status  to end with where one cannot be written; what is wrong has been told
function series.draw(list, path, chart)
  local base, ending = path:match '^(.*)(%.%w+)$'
  for i = 1, math.min(#list, MOST_PLOTS) do
    local target = i == 1 and path or ('%s-%d%s'):format(base or path, i, ending or '')
    local written, message = file.write(target, chart(list[i]))
    if not written then
      cli.error(message)
      return nil, cli.OUTSIDE
    end
  end
  return true
end

return series
