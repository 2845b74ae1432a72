--- Tells GitHub of a change's risk: one comment on the pull request that is kept up to date, and a
--- check run. Where the token may not (a pull request from a fork), that is said, and no more.
local check = require 'check'
local cli = require 'command.cli'
local github = require 'github'
local log = require 'log'

local publish = {}

local MARKER = '<!-- perigee:risk -->'

-- -- the client -----------------------------------------------------------------------------------

local function options_of(values)
  local o = { api_url = values['github-api'] or os.getenv 'GITHUB_API_URL',
    token_file = values['github-token-file'] }
  local checked, problems = check.apply(o, github.OPTIONS)
  if #problems > 0 then return nil, check.words(problems[1]) end
  if not o.token_file then
    checked.token = (os.getenv 'GITHUB_TOKEN' or ''):match '^%s*(.-)%s*$'
    if checked.token == '' then
      return nil, 'no token: give --github-token-file, or $GITHUB_TOKEN'
    elseif checked.token:find '%c' then
      return nil, 'GITHUB_TOKEN holds more than one line'
    end
    log.secret(checked.token)
  end
  return checked
end

---@return string? repository
---@return string? message
local function repository_of(values)
  local name = values['github-repository'] or os.getenv 'GITHUB_REPOSITORY' or ''
  local message = github.check_repository(name)
  if message then return nil, 'GITHUB_REPOSITORY: ' .. message end
  return name
end

-- -- the comment ----------------------------------------------------------------------------------

--- Whether a comment's author is us. The token of a workflow or of another app may not ask who it
--- is; it is a bot then, and what any bot has written under our marker is our comment.
---@return (fun(author: table): boolean)?
---@return string? message
local function is_own(client)
  local user, failure = client:request('GET', '/user')
  if type(user) == 'table' and type(user.login) == 'string' then
    return function(author) return author.login == user.login end
  elseif failure and failure.forbidden then
    return function(author) return author.type == 'Bot' end
  end
  return nil, failure and failure.message or 'GitHub does not say who we are'
end

--- Our comments with the marker, the oldest first.
local function own_comments(client, path, marker)
  local is_ours, message = is_own(client)
  if not is_ours then return nil, { message = message } end
  local all, failure = client:list(path)
  if not all then return nil, failure end
  local out = {}
  for _, c in ipairs(all) do
    if type(c.body) == 'string' and c.body:sub(1, #marker) == marker and type(c.user) == 'table'
      and is_ours(c.user) then
      out[#out + 1] = c
    end
  end
  table.sort(out, function(a, b) return a.id < b.id end)
  return out
end

--- Puts the comment there, in the place of an earlier one. A post whose answer was lost may have
--- been done: the list tells.
local function comment(client, repository, number, body, marker)
  local path = ('/repos/%s/issues/%d/comments'):format(repository, number)
  local function at(id) return ('/repos/%s/issues/comments/%d'):format(repository, id) end
  local ours, failure = own_comments(client, path, marker)
  if not ours then return nil, failure end
  if not ours[1] then
    local made
    made, failure = client:request('POST', path, { body = { body = body } })
    if made then return true end
    if not failure.uncertain then return nil, failure end
    ours = own_comments(client, path, marker)
    if not ours or not ours[1] then return nil, failure end
  end
  if ours[1].body ~= body then
    local done
    done, failure = client:request('PATCH', at(ours[1].id), { body = { body = body } })
    if not done then return nil, failure end
  end
  for i = 2, #ours do client:request('DELETE', at(ours[i].id)) end
  return true
end

local function pull_request_of(values, event)
  local n = values['pull-request'] or type(event.pull_request) == 'table'
    and event.pull_request.number
  n = math.tointeger(tonumber(n))
  if not n or n < 1 then
    return nil, 'the event names no pull request to comment on; give --pull-request N'
  end
  return n
end

-- -- the check run --------------------------------------------------------------------------------

local CONCLUSION = { low = 'success', medium = 'neutral', high = 'neutral' }
local RANK = { low = 1, medium = 2, high = 3 }

local function check_run(client, repository, values, event, r, markdown)
  local request = type(event.pull_request) == 'table' and event.pull_request or {}
  local sha = type(request.head) == 'table' and request.head.sha or r.head
  local fails = values['fail-on'] and RANK[r.risk_level] >= RANK[values['fail-on']]
  return client:request('POST', ('/repos/%s/check-runs'):format(repository), { body = {
    name = 'perigee risk', head_sha = sha, status = 'completed',
    conclusion = fails and 'failure' or CONCLUSION[r.risk_level],
    output = { title = ('Change risk: %s (%.14g points)'):format(r.risk_level, r.risk_score),
      summary = markdown } } })
end

-- -- both -----------------------------------------------------------------------------------------

--- What a refusal means: where the token may not, the summary has to do.
local function told(what, ok, failure)
  if ok then return true end
  if failure.forbidden then
    cli.error(('%s: the token may not (%s); the summary of the step has it'):format(what,
      cli.plain(failure.message)))
    return true
  end
  return nil, ('%s: %s'):format(what, failure.message)
end

---@param values table  of the command line
---@param event table   of the workflow
---@param r risk.Report
---@param markdown string
---@return boolean?
---@return string? message
function publish.run(values, event, r, markdown)
  local options, message = options_of(values)
  if not options then return nil, message end
  local repository
  repository, message = repository_of(values)
  if not repository then return nil, message end
  local client, problems = github.connect(options), {}
  if values.comment then
    local number, ok
    number, message = pull_request_of(values, event)
    if number then
      ok, message = told('the comment', comment(client, repository, number,
        MARKER .. '\n' .. markdown, MARKER))
    end
    if not ok then problems[1] = message end
  end
  if values['check-run'] then
    local ok, why = told('the check run', check_run(client, repository, values, event, r, markdown))
    if not ok then problems[#problems + 1] = why end
  end
  if #problems > 0 then return nil, table.concat(problems, '; ') end
  return true
end

return publish
