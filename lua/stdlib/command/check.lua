--- `perigee check`: every error of configuration and rules in one run.
local ask_source = require 'command.ask_source'
local cli = require 'command.cli'
local config = require 'config'
local file = require 'perigee.file'
local http = require 'http'
local json = require 'perigee.json'
local load_rules = require 'rules.load'
local log = require 'log'

--- Files and folders named on the command line, as files; what is not there goes to problems.
local function expand(paths, problems)
  local out = {}
  for _, path in ipairs(paths) do
    local stat, message = file.stat(path)
    if not stat then
      problems[#problems + 1] = { file = path, line = 0, message = message }
    elseif stat.type == 'folder' then
      for _, kind in ipairs { 'lua', 'yaml', 'yml' } do
        local found = file.glob(path:gsub('/+$', '') .. '/*.' .. kind)
        table.move(found, 1, #found, #out + 1, out)
      end
    else
      out[#out + 1] = path
    end
  end
  return out
end

local function report(values, problems, warnings, counts)
  if values.json then
    local errors, notes = json.array(), json.array()
    for i, p in ipairs(problems) do
      errors[i] = { file = p.file, line = p.line, column = p.column, message = p.message }
    end
    for i, p in ipairs(warnings) do
      notes[i] = { file = p.file, line = p.line, column = p.column, message = p.message }
    end
    cli.print_json { errors = errors, warnings = notes }
    return
  end
  for _, p in ipairs(problems) do io.stderr:write(config.problem_text(p), '\n') end
  for _, p in ipairs(warnings) do
    p.message = 'warning: ' .. p.message
    io.stderr:write(config.problem_text(p), '\n')
  end
  if #problems == 0 then
    print(('%d rule files: %s; nothing is wrong'):format(counts.files, cli.counts_text(counts)))
  end
end

local function size(map)
  local n = 0
  for _ in pairs(map) do n = n + 1 end
  return n
end

local SPEC = {
  usage = 'check [-c CONFIG] [FILE…]',
  summary = 'Checks the configuration and its rule files, or just the files (or folders) named.',
  details = [[
Every error is a line "file:line[:column]: message" on standard error. Exit status 1: a rule
is wrong; 2: the configuration is; 3: the source of --url cannot be asked.]],
  most = 10000,
  options = { cli.CONFIG, { name = 'url', value = 'URL',
    help = 'of a Prometheus that is asked whether it can read the expressions' }, cli.JSON },
}

return function(...)
  local values, status = cli.parse(SPEC, ...)
  if not values then return status end
  local wrong_url = values.url and http.check_base(values.url)
  if wrong_url then return select(2, cli.refuse('--url: ' .. wrong_url)) end
  log.setup('warn', false)
  local files, problems, settings, bad_config = {}, {}, { evaluation_interval = 30 }, false
  if #values == 0 or values.config then
    local read, found, _
    read, problems, _, found = config.read(values.config or 'perigee.yaml')
    settings, files, bad_config = read or settings, found or files, not read
  end
  if #values > 0 then files = expand(values, problems) end
  local rules, errors, warnings = load_rules.load(files,
    { every = settings.evaluation_interval, limits = {},
    groups = settings.approvals and settings.approvals.groups,
    folder = (values.config or 'perigee.yaml'):match '^(.*)/[^/]*$' or '.' })
  table.move(errors, 1, #errors, #problems + 1, problems)
  local refused, unasked
  if values.url and #problems == 0 then
    refused, unasked = ask_source.problems(values.url, rules)
    problems = refused or problems
  end
  if unasked then
    cli.error(unasked)
    return cli.OUTSIDE
  end
  report(values, problems, warnings, { files = #files, signals = size(rules.signals),
    incidents = size(rules.incidents), playbooks = size(rules.playbooks),
    forecasts = size(rules.forecasts), predictions = size(rules.predictions),
    groups = #rules.groups })
  if bad_config then return cli.USAGE end
  return #problems > 0 and cli.NOT_AS_IT_SHOULD_BE or cli.DONE
end
