--- What the commands have in common: arguments, --help, --json, colour, tables, talking to a
--- running perigee, exit statuses.
local async = require 'async'
local check = require 'check'
local clock = require 'perigee.clock'
local http = require 'http'
local json = require 'perigee.json'
local terminal = require 'perigee.terminal'

local cli = {}

cli.DONE, cli.NOT_AS_IT_SHOULD_BE, cli.USAGE, cli.OUTSIDE = 0, 1, 2, 3
cli.URL = 'http://127.0.0.1:9747'

---@class cli.Option
---@field name string    "--name"
---@field short? string  "-n"
---@field value? string  what follows, as the help shows it; a flag has none
---@field help string
---@field many? boolean  may be given more than once: its value is a list

---@class cli.Spec
---@field usage string   behind "perigee "
---@field summary string
---@field details? string
---@field options cli.Option[]
---@field least? integer, most? integer  of the arguments that are no options; 0, 0

local HELP = { name = 'help', short = 'h', help = 'shows this' }
local JSON = { name = 'json', help = 'prints one JSON document' }
cli.JSON = JSON
cli.CONFIG = { name = 'config', short = 'c', value = 'CONFIG',
  help = 'the configuration; perigee.yaml' }

--- Options of the commands that talk to a running perigee.
cli.REMOTE = {
  { name = 'url', value = 'URL', help = 'of the running perigee; ' .. cli.URL },
  { name = 'token-file', value = 'FILE',
  help = 'holds a token of auth.tokens; $PERIGEE_TOKEN_FILE' },
  JSON,
}

--- Tells what is wrong, on standard error.
function cli.error(message) io.stderr:write('perigee: ', message, '\n') end

--- Tells what is wrong with the command line, and gives nil and the status to end with.
---@return nil
---@return integer status
function cli.refuse(message)
  cli.error(message)
  return nil, cli.USAGE
end

local function help_text(spec)
  local lines = { 'Usage: perigee ' .. spec.usage, '', spec.summary }
  if spec.details then lines[#lines + 1] = '\n' .. spec.details end
  lines[#lines + 1] = '\nOptions:'
  for _, o in ipairs(spec.options) do
    local left = ('  %s--%s%s'):format(o.short and '-' .. o.short .. ', ' or '    ', o.name,
      o.value and ' ' .. o.value or '')
    lines[#lines + 1] = ('%-28s %s'):format(left, o.help)
  end
  return table.concat(lines, '\n') .. '\n'
end

local function find(spec, name, is_short)
  for _, o in ipairs(spec.options) do
    if is_short and o.short == name or not is_short and o.name == name then return o end
  end
end

local function unknown(spec, given)
  local names = {}
  for i, o in ipairs(spec.options) do names[i] = '--' .. o.name end
  return check.unknown('option', given, names)
end

--- Reads arguments.
---@param spec cli.Spec
---@return table? values       by option's name, and positions in the array part
---@return integer? status     to end with, where there are no values: help was shown, or an error
function cli.parse(spec, ...)
  local values, args, i = {}, { ... }, 1
  spec = setmetatable({ options = cli.options(spec.options, { HELP }) }, { __index = spec })
  local function wrong(message)
    cli.error(('%s\nTry "perigee %s --help".'):format(message, spec.usage:match '^%S+'))
    return nil, cli.USAGE
  end
  while i <= #args do
    local name, given = args[i]:match '^%-%-([%w%-]+)=?(.*)$'
    local is_short = not name and args[i]:match '^%-%a$' ~= nil
    if args[i] == '--' then
      table.move(args, i + 1, #args, #values + 1, values)
      break
    elseif name or is_short then
      local o = find(spec, name or args[i]:sub(2), is_short)
      if not o then return wrong(unknown(spec, args[i]:match '^[^=]+')) end
      local has_value = args[i]:find('=', 1, true) ~= nil
      if not o.value and has_value then return wrong(('--%s takes no value'):format(o.name)) end
      if o.value and not has_value then
        i = i + 1
        given = args[i]
        if not given then return wrong(('--%s needs %s'):format(o.name, o.value)) end
      end
      if o.many then
        values[o.name] = values[o.name] or {}
        table.insert(values[o.name], given)
      else
        values[o.name] = o.value and given or true
      end
    elseif args[i]:sub(1, 1) == '-' and args[i] ~= '-' then
      return wrong(unknown(spec, args[i]))
    else
      values[#values + 1] = args[i]
    end
    i = i + 1
  end
  if values.help then
    io.write(help_text(spec))
    return nil, cli.DONE
  end
  if #values > (spec.most or 0) then
    return wrong(('"%s" is one argument too many'):format(values[(spec.most or 0) + 1]))
  end
  if #values < (spec.least or 0) then return wrong(('Usage: perigee %s'):format(spec.usage)) end
  return values
end

--- The options of several lists, one behind the other.
function cli.options(...)
  local out = {}
  for _, list in ipairs { ... } do
    for _, o in ipairs(list) do out[#out + 1] = o end
  end
  return out
end

-- -- output ---------------------------------------------------------------------------------------

--- Prints a value as one JSON document.
function cli.print_json(value) io.write(json.encode(value, 2), '\n') end

local COLOURS = { red = 31, green = 32, yellow = 33, blue = 34, bold = 1, dim = 2 }

--- Coloured on a terminal that wants it, plain elsewhere.
---@param name string
---@param text string
function cli.colour(name, text)
  if not terminal.is_terminal(1) or os.getenv 'NO_COLOR' or os.getenv 'TERM' == 'dumb' then
    return text
  end
  return ('\27[%dm%s\27[0m'):format(COLOURS[name], text)
end

--- Text from elsewhere, harmless for a terminal.
function cli.plain(text)
  return (tostring(text):gsub('%c', '?'):gsub('\xC2[\x80-\x9F]', '?'))
end

local function width(s) return utf8.len(s) or #s end

--- Rows under headings, each column as wide as its widest cell.
---@param heads string[]
---@param rows string[][]
function cli.table(heads, rows)
  local widths, all = {}, { heads, table.unpack(rows) }
  for _, row in ipairs(all) do
    for c, cell in ipairs(row) do
      row[c] = cli.plain(cell)
      widths[c] = math.max(widths[c] or 0, width(row[c]))
    end
  end
  for r, row in ipairs(all) do
    local line = {}
    for c, cell in ipairs(row) do
      line[c] = c == #row and cell or cell .. (' '):rep(widths[c] - width(cell))
    end
    local text = table.concat(line, '  '):gsub(' +$', '')
    io.write(r == 1 and cli.colour('bold', text) or text, '\n')
  end
end

--- Labels as Prometheus prints them, without the braces.
function cli.labels_text(labels)
  return require('prometheus').labels_text(labels or {}, ', ')
end

--- How many there are of each kind of declaration; of what few rules have, only where there is any.
---@param counts { signals: integer, incidents: integer, playbooks: integer, forecasts?: integer,
---   predictions?: integer }
function cli.counts_text(counts)
  local parts = { ('%d signals, %d incidents, %d playbooks'):format(counts.signals,
    counts.incidents, counts.playbooks) }
  for _, kind in ipairs { 'forecasts', 'predictions' } do
    if (counts[kind] or 0) > 0 then parts[#parts + 1] = ('%d %s'):format(counts[kind], kind) end
  end
  if (counts.groups or 0) > 0 then parts[#parts + 1] = ('%d rule groups'):format(counts.groups) end
  return table.concat(parts, ', ')
end

--- "2026-11-22T17:18:00.000Z" without what nobody reads.
function cli.time_text(t) return t and t:gsub('T', ' '):gsub('%.%d+Z$', 'Z') or '-' end

-- -- long work ------------------------------------------------------------------------------------

local SHOW_AFTER, REDRAW = 0.3, 0.2 -- seconds

local Progress = {}
Progress.__index = Progress

--- Says what is under way, on standard error, where that is a terminal and it takes long enough to
--- be read. Close it before anything else is written.
---@return { tell: fun(self, what: string), close: fun(self) }
function cli.progress()
  return setmetatable({ shows = terminal.is_terminal(2) and os.getenv 'TERM' ~= 'dumb',
    began = clock.monotonic() }, Progress)
end

function Progress:draw()
  local passed = clock.monotonic() - self.began
  if self.closed or passed < SHOW_AFTER then return end
  self.drawn = true
  io.stderr:write(('\r\27[K%s … %.0f s'):format(cli.plain(self.what), passed))
  io.stderr:flush()
end

--- What is done from now on; drawn again and again while it lasts.
function Progress:tell(what)
  if not self.shows or self.closed then return end
  local first = self.what == nil
  self.what = what
  if not first then return self:draw() end
  async.spawn(function()
    while not self.closed do
      async.sleep(REDRAW)
      self:draw()
    end
  end)
end

--- Wipes the line; twice is fine.
function Progress:close()
  if self.drawn and not self.closed then io.stderr:write '\r\27[K' end
  self.closed = true
end
Progress.__close = Progress.close

-- -- a running perigee ----------------------------------------------------------------------------

--- The headers of every request, or nil and why a token cannot be sent.
local function headers_of(values)
  local headers = { Accept = 'application/json', ['X-Perigee-Client'] = 'cli' }
  local path, message = values['token-file'] or os.getenv 'PERIGEE_TOKEN_FILE' or '', nil
  if path ~= '' then headers.Authorization, message = http.bearer(path) end
  if message then return nil, message end
  return headers
end

---@class cli.Answer
---@field status integer
---@field data? any      of a successful answer
---@field error? string

--- Asks a running perigee.
---@param values table   parsed options, with url and token-file
---@param method string
---@param path string
---@param body? table
---@return cli.Answer? answer
---@return string? message  nobody was asked, or nobody answered
---@return integer? status   to end with, then
function cli.ask(values, method, path, body)
  local base = (values.url or cli.URL):gsub('/+$', '')
  local wrong = http.check_base(base)
  if wrong then return nil, '--url: ' .. wrong, cli.USAGE end
  local headers, message = headers_of(values)
  if not headers then return nil, message, cli.USAGE end
  if body then headers['Content-Type'] = 'application/json' end
  local response, why = http.request { method = method, url = base .. path, headers = headers,
    body = body and json.encode(body) or nil, timeout = 60, max_body = 64 << 20,
    target = 'perigee' }
  if not response then
    return nil, ('no perigee answers at %s: %s'):format(base, why), cli.OUTSIDE
  end
  local answer = json.decode(response.body)
  if type(answer) ~= 'table' then answer = { error = response.body:match '^%s*(.-)%s*$' } end
  return { status = response.status, data = answer.data, error = answer.error }
end

--- The same, for commands that can only go on with data.
---@return any? data
---@return integer? status  to end with; what is wrong has been told
function cli.get(values, method, path, body)
  local answer, message, failed = cli.ask(values, method, path, body)
  if answer and answer.status < 300 and answer.data ~= nil then return answer.data end
  if answer then
    local words = cli.plain(answer.error or 'an answer that is no perigee\'s')
    message = ('%s (status %d)'):format(words:sub(1, 500), answer.status)
  end
  cli.error(message)
  return nil, failed or cli.OUTSIDE
end

return cli
