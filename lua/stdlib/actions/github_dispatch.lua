--- github.dispatch: starts a workflow that has the trigger workflow_dispatch, where the operator
--- allows it (guardrails.github). GitHub gives a start no name of its own, so one whose answer was
--- lost is not repeated.
local check = require 'check'
local github = require 'github'

local MOST_INPUTS = 25 -- GitHub's own limit

local function file_name(v)
  if type(v) ~= 'string' or not v:find '^[%w_.-]+%.ya?ml$' then
    return check.expected('the name of a workflow\'s file such as "rollback.yml"', v)
  end
end

local function ref(v)
  if type(v) ~= 'string' or not v:find '^[%w_./-]+$' or v:find '^[/-]' or v:find('..', 1, true) then
    return check.expected('a branch or tag such as "main"', v)
  end
end

local inputs = { test = function(v)
  local rule = check.map_of({ test = function(value)
    if type(value) ~= 'string' or #value > 4096 then
      return check.expected('a text of at most 4096 bytes', value)
    end
  end }, '^[%w_-]+$')
  local message, out, nested = rule.test(v)
  if message then return message, out, nested end
  local n = 0
  for _ in pairs(v) do n = n + 1 end
  if n > MOST_INPUTS then return ('%d inputs; GitHub takes %d'):format(n, MOST_INPUTS) end
  return nil, out
end }

local WORKFLOW = { workflow = check.required { test = file_name },
  ref = { default = 'main', test = ref }, inputs = inputs }

local SPEC = { repository = check.required { test = github.check_repository },
  revert = check.table_of(WORKFLOW) }
for name, rule in pairs(WORKFLOW) do SPEC[name] = rule end

local function target(args) return ('github/%s/%s'):format(args.repository, args.workflow) end

local function one_allowed(args, workflow, config)
  for _, rule in ipairs(config.guardrails.github or {}) do
    local fits = rule.repository == args.repository and not rule.workflows
    for _, name in ipairs(rule.repository == args.repository and rule.workflows or {}) do
      fits = fits or name == workflow
    end
    if fits then return nil end
  end
  return ('guardrails.github does not allow %s in %s'):format(workflow, args.repository)
end

local function allowed(args, config)
  if not config.github then return 'perigee.yaml has no "github"' end
  local why = one_allowed(args, args.workflow, config)
  if why or not args.revert then return why end
  why = one_allowed(args, args.revert.workflow, config)
  return why and 'its revert: ' .. why
end

local function text_of(args, one) return ('%s of %s at %s'):format(one.workflow, args.repository,
  one.ref) end

--- Whether the workflow is there and may be started. Nothing of GitHub's says what it would do.
local function preview(args, context)
  local data, failure = context.github:request('GET',
    ('/repos/%s/actions/workflows/%s'):format(args.repository, args.workflow))
  if not data then
    return nil, { message = ('%s: %s'):format(target(args), failure.message),
      transient = failure.transient }
  end
  local state = type(data) == 'table' and tostring(data.state) or 'unknown'
  return { summary = 'start the workflow ' .. text_of(args, args), before = {},
    observed = { workflow = tostring(data.id), state = state },
    warnings = { 'what the workflow does is not known here' },
    refusal = state ~= 'active' and ('the workflow is %s'):format(state) or nil }
end

local function start(args, one, context)
  local ok, failure = context.github:dispatch(args.repository, one.workflow, one.ref or 'main',
    one.inputs)
  if ok then return { result = 'succeeded', message = 'started ' .. text_of(args, one) } end
  return { result = failure.uncertain and 'unknown' or 'failed', message = failure.message }
end

local function run(args, context) return start(args, args, context) end
local function can_revert(args) return args.revert ~= nil end
local function revert(args, context) return start(args, args.revert, context) end

return { spec = SPEC, changes = true, target = target, allowed = allowed, preview = preview,
  run = run, can_revert = can_revert, revert = revert }
