--- Prometheus' own template functions, in the form of template.builtins.
local address = require 'template.address'
local builtins = require 'template.builtins'
local case = require 'template.case'
local go_format = require 'perigee.go_format'
local quote = require 'template.quote'
local regex = require 'perigee.regex'
local values = require 'template.values'

local types, type_of = values.types, values.type_of
local query_escape = builtins.query_escape

---@type table<string, template.Function>
local M = {}

-- What a Go program says of itself that followed a nil pointer.
local NIL_POINTER = 'runtime error: invalid memory address or nil pointer dereference'

---@return number?
---@return string? message
local function to_float(v)
  local kind = math.type(v)
  if kind then return v * 1.0 end
  if type(v) ~= 'string' then return nil, ("can't convert %s to float"):format(type_of(v).name) end
  local x, message = go_format.parse_float(v)
  if x then return x end
  return nil, ('strconv.ParseFloat: parsing %s: %s'):format(quote.quote(v), message)
end

-- A function of one number, which may be given as text.
local function of_number(f)
  return {
    parameters = { 'any' },
    call = function(_, v)
      local x, message = to_float(v)
      if not x then return nil, message end
      return f(x)
    end,
  }
end

-- Most walk over the text character by character.
local function of_text(f)
  return { parameters = { 'string' }, call = function(run, s)
    run:charge(#s)
    return f(s)
  end }
end

-- Go's int64(x): on amd64 what is out of range, or no number, is the least of all.
local function to_int64(x)
  if x ~= x or x >= 0x1p63 or x < -0x1p63 then return math.mininteger end
  return math.tointeger(x < 0 and math.ceil(x) or math.floor(x))
end

-- Go's / and % round towards zero, Lua's down.
local function div(a, b) return a // b + (a < 0 and a % b ~= 0 and 1 or 0) end
local function rem(a, b) return math.fmod(a, b) end

local function digits4(x) return go_format.float(x, 'g', 4) end
local function is_finite(x) return x - x == 0 end

local LARGE = { 'k', 'M', 'G', 'T', 'P', 'E', 'Z', 'Y' }
local SMALL = { 'm', 'u', 'n', 'p', 'f', 'a', 'z', 'y' }
local BINARY = { 'ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei', 'Zi', 'Yi' }

local function scaled_down(x, base, prefixes)
  local prefix = ''
  for _, p in ipairs(prefixes) do
    if math.abs(x) < base then break end
    prefix, x = p, x / base
  end
  return digits4(x) .. prefix
end

local function scaled_up(x)
  local prefix = ''
  for _, p in ipairs(SMALL) do
    if math.abs(x) >= 1 then break end
    prefix, x = p, x * 1000
  end
  return digits4(x) .. prefix
end

local function humanize(x)
  if x == 0 or not is_finite(x) then return digits4(x) end
  return math.abs(x) >= 1 and scaled_down(x, 1000, LARGE) or scaled_up(x)
end

local function humanize1024(x)
  if math.abs(x) <= 1 or not is_finite(x) then return digits4(x) end
  return scaled_down(x, 1024, BINARY)
end

local function humanize_duration(x)
  if not is_finite(x) then return digits4(x) end
  if x == 0 then return digits4(x) .. 's' end
  if math.abs(x) < 1 then return scaled_up(x) .. 's' end
  local sign = x < 0 and '-' or ''
  x = math.abs(x)
  local whole = to_int64(x)
  local seconds, minutes = rem(whole, 60), rem(div(whole, 60), 60)
  local hours, days = rem(div(whole, 3600), 24), div(whole, 86400)
  if days ~= 0 then return ('%s%dd %dh %dm %ds'):format(sign, days, hours, minutes, seconds) end
  if hours ~= 0 then return ('%s%dh %dm %ds'):format(sign, hours, minutes, seconds) end
  if minutes ~= 0 then return ('%s%dm %ds'):format(sign, minutes, seconds) end
  return ('%s%ss'):format(sign, digits4(x))
end

local function to_time(x)
  if not is_finite(x) then return nil, 'value is NaN or Inf' end
  local ns = x * 1e9
  if ns > 0x1p63 or ns < -0x1p63 then
    return nil, go_format.float(x, 'g')
      .. ' cannot be represented as a nanoseconds timestamp since it overflows int64'
  end
  return { type = types.time, ms = div(to_int64(ns), 1000000) }
end

M.humanize = of_number(humanize)
M.humanize1024 = of_number(humanize1024)
M.humanizeDuration = of_number(humanize_duration)
M.humanizePercentage = of_number(function(x) return digits4(x * 100) .. '%' end)
M.humanizeTimestamp = of_number(function(x)
  if not is_finite(x) then return digits4(x) end
  local time, message = to_time(x)
  if not time then return nil, message end
  return builtins.printed(time)
end)
M.toTime = of_number(to_time)
M.toDuration = of_number(function(x) return { type = types.duration, ns = to_int64(x * 1e9) } end)
M.now = { parameters = {}, call = function(run) return run.data.time + 0.0 end }

local UNITS = {
  { 'y', 31536000000 }, { 'w', 604800000 }, { 'd', 86400000 }, { 'h', 3600000 }, { 'm', 60000 },
  { 's', 1000 }, { 'ms', 1 },
}
local MOST_MS = math.maxinteger // 1000000

-- Prometheus' durations: each unit once, the larger before the smaller; "0" needs none. In seconds.
local function parse_duration(s)
  if s == '' then return nil, 'empty duration string' end
  local rest, ms = s:match('^-?(.*)$'), 0
  if rest == '0' then return 0.0 end
  local at = 1
  for _, unit in ipairs(UNITS) do
    local digits, behind = rest:match('^(%d+)' .. unit[1] .. '()', at)
    if digits and not (unit[1] == 'm' and rest:find('^s', behind)) then
      local n = math.tointeger(tonumber(digits))
      if not n or n > (MOST_MS - ms) // unit[2] then return nil, 'duration out of range' end
      ms, at = ms + n * unit[2], behind
    end
  end
  if at <= #rest or rest == '' then
    return nil, 'not a valid duration string: ' .. quote.quote(s)
  end
  return (rest == s and ms or -ms) / 1000
end

M.parseDuration = of_text(parse_duration)
M.title = of_text(case.title)
M.toUpper = of_text(case.upper)
M.toLower = of_text(case.lower)
M.stripPort = of_text(address.strip_port)
M.stripDomain = of_text(address.strip_domain)
M.graphLink = of_text(function(e) return '/graph?g0.expr=' .. query_escape(e) .. '&g0.tab=0' end)
M.tableLink = of_text(function(e) return '/graph?g0.expr=' .. query_escape(e) .. '&g0.tab=1' end)
M.urlQueryEscape = of_text(query_escape)
M.safeHtml = of_text(function(s) return { type = types.html, text = s } end)

-- Patterns are mostly constants: those compiled once are kept with the template, a few of them.
local MAX_KEPT = 32
local REGEX_COST = 200 -- steps: one may take a few ms

local function compiled(run, pattern)
  run:charge(REGEX_COST)
  local kept = run.patterns
  if kept.compiled[pattern] then return kept.compiled[pattern] end
  local re, message = regex.compile(pattern)
  if not re then return nil, message end
  if kept.n < MAX_KEPT then kept.compiled[pattern], kept.n = re, kept.n + 1 end
  return re
end

M.match = {
  parameters = { 'string', 'string' },
  call = function(run, pattern, s)
    local re, message = compiled(run, pattern)
    if not re then return nil, message end
    return re:match(s)
  end,
}

M.reReplaceAll = {
  parameters = { 'string', 'string', 'string' },
  call = function(run, pattern, replacement, s)
    local re, message = compiled(run, pattern)
    if not re then -- MustCompile's panic
      local shown = quote.is_raw(pattern) and '`' .. pattern .. '`' or quote.quote(pattern)
      return nil, ('regexp: Compile(%s): %s'):format(shown, message)
    end
    return re:replace_all(s, replacement)
  end,
}

local function sample(row)
  return { type = types.sample, Labels = values.labels(row.Labels), Value = row.Value * 1.0 }
end

M.query = {
  parameters = { 'string' },
  call = function(run, expr)
    local rows, message = run.data.query(expr)
    if not rows then return nil, message or 'no result' end
    run:charge(#rows)
    local items = {}
    for i, row in ipairs(rows) do items[i] = sample(row) end
    return { type = types.vector, items = items }
  end,
}

M.first = {
  parameters = { 'vector' },
  call = function(_, vector)
    if vector.items[1] then return vector.items[1] end
    return nil, 'first() called on vector with no elements'
  end,
}

local function of_sample(f)
  return function(_, ...)
    local s = select(select('#', ...), ...)
    if s.null then return nil, NIL_POINTER end
    return f(...)
  end
end

M.label = {
  parameters = { 'string', 'sample' },
  call = of_sample(function(name, s) return s.Labels.items[name] or '' end),
}
M.value = { parameters = { 'sample' }, call = of_sample(function(s) return s.Value end) }
M.strvalue = {
  parameters = { 'sample' },
  call = of_sample(function(s) return s.Labels.items.__value__ or '' end),
}

-- Sorts the list it is given, as Prometheus does; equal labels stay in order.
M.sortByLabel = {
  parameters = { 'string', 'vector' },
  call = function(run, name, vector)
    local items, place = vector.items, {}
    run:charge(#items)
    for i, s in ipairs(items) do place[s] = i end
    table.sort(items, function(a, b)
      local la, lb = a.Labels.items[name] or '', b.Labels.items[name] or ''
      if la ~= lb then return la < lb end
      return place[a] < place[b]
    end)
    return vector
  end,
}

M.args = {
  parameters = {},
  variadic = 'any',
  call = function(_, ...)
    local items = {}
    for i, v in ipairs { ... } do items['arg' .. i - 1] = v end
    return { type = types.args, items = items }
  end,
}

M.externalURL = { parameters = {}, call = function(run) return run.data.external_url end }
M.pathPrefix = {
  parameters = {},
  call = function(run) return address.path(run.data.external_url) end,
}

return M
