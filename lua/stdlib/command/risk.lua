--- `perigee risk`: how risky a change is, file by file, for the pipeline that would deploy it.
local changes = require 'risk.changes'
local check = require 'check'
local cli = require 'command.cli'
local clock = require 'perigee.clock'
local config = require 'config'
local history = require 'risk.history'
local http = require 'http'
local production = require 'risk.production'
local report = require 'risk.report'
local score = require 'risk.score'
local settings = require 'risk.settings'
local workflow = require 'risk.workflow'

local LEVELS = { 'low', 'medium', 'high' }
local RANK = { low = 1, medium = 2, high = 3 }
local FORMATS = { 'text', 'json', 'markdown', 'codequality' }

local SPEC = {
  usage = 'risk [--base REF] [OPTION…]',
  summary = 'Tells how risky the change from a base to HEAD is, and why, file by file.',
  details = [[
What counts is in risk.lua or risk.yaml at the top of the repository (or in .github/), as it was
where the change branched off; without one, terraform|k8s|helm weighs 3 and migration|schema 5
a file. In a job of GitHub Actions the step's outputs risk_level and risk_score and its summary
are written, too. Nothing of what lies in the repository is run.]],
  options = {
    { name = 'base', value = 'REF', help = 'what to compare with; origin/$GITHUB_BASE_REF, what '
      .. 'was there before a push, or origin/main' },
    { name = 'head', value = 'REF', help = 'the change; HEAD' },
    { name = 'repository', short = 'C', value = 'FOLDER', help = 'the clone; the current folder' },
    { name = 'settings', value = 'FILE', help = 'instead of the repository\'s own' },
    { name = 'format', value = 'FORMAT', help = 'text, json, markdown or codequality (GitLab)' },
    { name = 'fail-on', value = 'LEVEL', help = 'status 1 at this level or above' },
    { name = 'comment', help = 'keeps one comment on the pull request up to date' },
    { name = 'check-run', help = 'makes a check run on the commit' },
    { name = 'pull-request', value = 'N', help = 'of --comment; by the event of the workflow' },
    { name = 'github-repository', value = 'OWNER/NAME', help = '$GITHUB_REPOSITORY' },
    { name = 'github-api', value = 'URL', help = '$GITHUB_API_URL; https://api.github.com' },
    { name = 'github-token-file', value = 'FILE', help = 'holds the token; else $GITHUB_TOKEN' },
    { name = 'source', value = 'URL', help = 'a Prometheus: error budgets of what is touched' },
    { name = 'url', value = 'URL', help = 'a running perigee: open incidents of what is touched' },
    { name = 'token-file', value = 'FILE', help = 'holds a token for --url' },
    cli.JSON,
  },
}

-- -- what is asked --------------------------------------------------------------------------------

local function options_of(values)
  for name, choices in pairs { format = FORMATS, ['fail-on'] = LEVELS } do
    local message = values[name] and check.one_of(nil, choices).test(values[name])
    if message then return cli.refuse(('--%s: %s'):format(name, cli.plain(message))) end
  end
  if values.json and values.format and values.format ~= 'json' then
    return cli.refuse '--json and --format say different things'
  end
  for _, name in ipairs { 'source', 'url', 'github-api' } do
    local message = values[name] and http.check_base(values[name])
    if message then return cli.refuse(('--%s: %s'):format(name, cli.plain(message))) end
  end
  return values.json and 'json' or values.format or 'text'
end

local function settings_of(values, folder, base)
  local found, from
  if values.settings then
    found, from = settings.file(values.settings)
  else
    found, from = settings.at(folder, base)
  end
  if found then return found, from end
  for _, p in ipairs(from) do cli.error(cli.plain(config.problem_text(p))) end
  return nil, cli.USAGE
end

--- What a reader has to know of how it came about.
local function notes_of(values, change, from)
  local notes = {}
  if from ~= '' and not values.settings then
    notes[1] = ('by %s as it was at %s'):format(from, change.base:sub(1, 12))
  end
  for _, f in ipairs(change.files) do
    for _, name in ipairs(settings.NAMES) do
      if f.path == name or f.old_path == name then
        notes[#notes + 1] = ('%s is changed by this very change; what it says now does not count '
          .. 'yet'):format(name)
      end
    end
  end
  return notes
end

-- -- the score ------------------------------------------------------------------------------------

--- The past of the files and the authors of the change, where they are asked for.
local function past_of(folder, change, own, notes)
  if not score.needs_history(own) then return nil end
  local repairs = own.repairs
  local past, authors, message, cut
  past, message, cut = history.read(folder, change.base, change.files,
    repairs and repairs.pattern or function() return false end,
    clock.now() - (repairs and repairs.days or 0) * 86400)
  if past then authors, message = history.authors(folder, change.base, change.head) end
  if not authors then return nil, nil, message end
  if change.shallow then
    notes[#notes + 1] = 'the clone is shallow: of the past of files only what it has counts'
  elseif cut then
    notes[#notes + 1] = ('of the past of files only the last %d commits count'):format(
      history.COMMITS)
  end
  return past, authors
end

local function production_of(values, own, change)
  local out = {}
  if not values.source and not values.url then return out end
  local services = production.services(own, change.files)
  local function take(found)
    for _, one in ipairs(found) do out[#out + 1] = one end
  end
  if values.url and own.incidents and #services > 0 then
    local found, status = production.incidents(own, services, values)
    if not found then return nil, status end
    take(found)
  end
  if values.source and own.error_budget and #services > 0 then
    local found, message = production.error_budgets(own, services, values.source)
    if not found then
      cli.error(cli.plain(message))
      return nil, cli.OUTSIDE
    end
    take(found)
  end
  return out
end

---@return risk.Report?
---@return integer? status
local function assess(values, event)
  local folder = values.repository or '.'
  local change, message = changes.read(folder, values.base or workflow.base(event),
    values.head or 'HEAD')
  if not change then return cli.refuse(cli.plain(message)) end
  local own, from = settings_of(values, folder, change.base)
  if not own then return nil, from end
  local notes = notes_of(values, change, from)
  local past, authors, failed = past_of(folder, change, own, notes)
  if failed then return cli.refuse(cli.plain(failed)) end
  local scored = score.files(change, own, past, authors, clock.now())
  local found, status = production_of(values, own, change)
  if not found then return nil, status end
  local points = scored.points
  for _, one in ipairs(found) do points = points + one.points end
  local level = score.level(own, points)
  return { risk_score = points, risk_level = level, recommendation = own.recommendations[level],
    base = change.base, base_name = change.base_name, head = change.head, files = scored.files,
    categories = scored.categories, production = found, notes = notes }
end

-- -- who is told ----------------------------------------------------------------------------------

local function print_as(format, r)
  if format == 'json' then
    cli.print_json(report.document(r))
  elseif format == 'markdown' then
    io.write(report.markdown(r))
  elseif format == 'codequality' then
    cli.print_json(report.code_quality(r))
  else
    report.print(r)
  end
end

--- The job of the workflow, and GitHub where it is asked for. What cannot be told is said; it does
--- not make the change any riskier.
local function tell(values, event, r)
  local markdown = report.markdown(r)
  local problems = {}
  local function must(ok, message)
    if not ok then problems[#problems + 1] = message end
  end
  must(workflow.outputs { { 'risk_level', r.risk_level },
    { 'risk_score', ('%.14g'):format(r.risk_score) }, { 'recommendation', r.recommendation } })
  must(workflow.summary(markdown))
  if values.comment or values['check-run'] then
    must(require('risk.publish').run(values, event, r, markdown))
  end
  for _, message in ipairs(problems) do cli.error(cli.plain(message)) end
  return #problems == 0
end

return function(...)
  local values, status = cli.parse(SPEC, ...)
  if not values then return status end
  local format
  format, status = options_of(values)
  if not format then return status end
  local event, message = workflow.event()
  if message then cli.error(cli.plain(message)) end
  local r
  r, status = assess(values, event)
  if not r then return status end
  print_as(format, r)
  local told = tell(values, event, r)
  if values['fail-on'] and RANK[r.risk_level] >= RANK[values['fail-on']] then
    return cli.NOT_AS_IT_SHOULD_BE
  end
  return told and cli.DONE or cli.OUTSIDE
end
