--- alertmanager.silence: for a while nobody is told of alerts with these labels. Labels are
--- compared for equality alone: their values are text from elsewhere, which must not become a
--- pattern.
local check = require 'check'
local clock = require 'perigee.clock'
local json = require 'perigee.json'
local prometheus = require 'prometheus'
local series_file = require 'perigee.series_file'
local units = require 'units'

local CREATED_BY = 'perigee'
local SHOWN = 10 -- alerts that the preview names

local SPEC = {
  matchers = check.required(check.map_of(check.string(), '^[%a_][%w_]*$')),
  duration = check.required(check.duration(nil, { min = 60 })),
  comment = check.required(check.string()),
}

local function check_args(args)
  if next(args.matchers) == nil then return 'matchers: at least one label is needed' end
end

local function text_of(args) return prometheus.labels_text(args.matchers) end

local function target(args) return 'alertmanager/silence/' .. text_of(args) end

local function allowed(_, config)
  if not config.alertmanager then return 'no Alertmanager is configured' end
end

local function matchers_of(args)
  local out = json.array()
  for i, name in ipairs(check.names(args.matchers)) do
    out[i] = { name = name, value = args.matchers[name], isRegex = false, isEqual = true }
  end
  return out
end

--- Whether a silence is about exactly these labels.
local function is_same(silence, args)
  local n = 0
  for _, m in ipairs(silence.matchers) do
    if m.isRegex or m.isEqual == false or args.matchers[m.name] ~= m.value then return false end
    n = n + 1
  end
  return n == #check.names(args.matchers)
end

local function failure_of(failure)
  return { message = 'Alertmanager: ' .. failure.message, transient = failure.transient }
end

--- A silence that lasts about as long as this one would; or nil.
local function find_longer(list, args)
  for _, silence in ipairs(list) do
    local until_then = series_file.time(silence.endsAt)
    if silence.state == 'active' and is_same(silence, args)
      and (until_then or 0) >= clock.now() + 0.9 * args.duration then
      return silence
    end
  end
end

local function preview(args, context)
  local client = context.alertmanager
  local list, failure = client:silences()
  if not list then return nil, failure_of(failure) end
  local alerts
  alerts, failure = client:alerts(args.matchers)
  if not alerts then return nil, failure_of(failure) end
  local lines = {}
  for i = 1, math.min(#alerts, SHOWN) do
    lines[i] = '  ' .. prometheus.labels_text(alerts[i].labels or {}):sub(1, 200)
  end
  if #alerts > SHOWN then lines[#lines + 1] = ('  and %d more'):format(#alerts - SHOWN) end
  local longer = find_longer(list, args)
  return { summary = ('silence %s for %s: %d alerts now'):format(text_of(args),
      units.duration_text(args.duration), #alerts), before = { key = context.key }, observed = {},
    current = ('%d alerts'):format(#alerts), proposed = 'silenced',
    diff = table.concat(lines, '\n'), warnings = {},
    nothing = longer and ('silence %s by %s lasts until %s'):format(longer.id,
      longer.createdBy or '?', longer.endsAt) or nil }
end

local function mark(key) return ('[%s]'):format(key) end

--- The silence that a run has made.
local function find(list, key)
  for _, silence in ipairs(list) do
    if (silence.comment or ''):find(mark(key), 1, true) then return silence end
  end
end

local function run(args, context)
  local now = clock.now()
  local id, failure = context.alertmanager:silence { matchers = matchers_of(args),
    startsAt = clock.text(now), endsAt = clock.text(now + args.duration), createdBy = CREATED_BY,
    comment = ('%s %s'):format(args.comment, mark(context.before.key)) }
  if id then
    return { result = 'succeeded', silence = id,
      message = ('silence %s until %s'):format(id, clock.text(now + args.duration)) }
  end
  local refused = failure.status and failure.status < 500 or failure.code == 'connection'
    or failure.code == 'dns'
  return { result = refused and 'failed' or 'unknown', message = failure.message }
end

local function find_out(_, context)
  local list, failure = context.alertmanager:silences()
  if not list then return { result = 'unknown', message = failure.message } end
  local silence = find(list, context.before.key)
  if not silence then return { result = 'not_done', message = 'there is no such silence' } end
  return { result = 'succeeded', silence = silence.id,
    message = ('silence %s is there, until %s'):format(silence.id, silence.endsAt) }
end

--- Ends the silence that was made, and no other.
local function revert(_, context)
  local list, failure = context.alertmanager:silences()
  if not list then return { result = 'failed', message = failure.message } end
  local silence = find(list, context.before.key)
  if not silence then return { result = 'failed', message = 'the silence is not there' } end
  if silence.state == 'expired' then
    return { result = 'succeeded', message = ('silence %s is over already'):format(silence.id) }
  end
  local ok
  ok, failure = context.alertmanager:expire(silence.id)
  if not ok then return { result = 'failed', message = failure.message } end
  return { result = 'succeeded', message = ('silence %s has been ended'):format(silence.id) }
end

return { spec = SPEC, changes = true, check = check_args, target = target, allowed = allowed,
  preview = preview, run = run, find_out = find_out, can_revert = function() return true end,
  revert = revert }
