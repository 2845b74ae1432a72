--- `perigee risk --comment` against a GitHub that keeps comments; and that one, and what we ask of
--- it, against GitHub's own description of its API.
local fake = require 'fakes.github'
local file = require 'perigee.file'
local json = require 'json'
local node = require 'fakes.node'
local process = require 'perigee.process'
local repository = require 'lua.risk.repository'
local world = require 'testing.world'

local PROGRAM = file.executable()
local DESCRIPTION = '../shared/reference/openapi/github-rest.json'

local github, r

before_each(function()
  github = fake.start()
  r = repository.new()
  r:commit { ['k8s/a.yaml'] = 'x', ['schema/b.sql'] = 'y' } -- 8 points: medium
end)
after_each(function()
  github:stop()
  repository.tidy()
end)

--- Runs `perigee risk` as a step of a workflow for pull request 7.
local function risk(args, o)
  o = o or {}
  local event = r.folder .. '/.git/event.json'
  assert(file.write(event, json.encode { pull_request = { number = 7,
    head = { sha = ('a'):rep(40) } } }))
  local argv = { PROGRAM, 'risk', '--base', 'main', table.unpack(args) }
  argv.cwd = r.folder
  argv.add_env = { GITHUB_API_URL = o.url or github.url, GITHUB_TOKEN = o.token or github.token,
    GITHUB_REPOSITORY = 'acme/shop', GITHUB_EVENT_PATH = event,
    GITHUB_STEP_SUMMARY = r.folder .. '/.git/summary' }
  local status, out, err = process.start(argv):wait(60)
  return status, out, err
end

local MARKER = '<!-- perigee:risk -->'

local function holds(text, words) assert.truthy(text:find(words, 1, true), text) end

describe('the comment on a pull request', function()
  it('is there once, and changes with what it says', function()
    github:comment('alice', 'looks good')
    assert.equal(0, (risk { '--comment' }))
    local first = github:bodies(github.login)
    assert.equal(1, #first)
    holds(first[1], MARKER .. '\n## Change risk: medium')
    assert.equal(0, (risk { '--comment' }))
    assert.same(first, github:bodies(github.login))
    assert.is_nil(table.concat(github.requests, '\n'):find 'PATCH') -- nothing new: nothing written
    r:commit { ['terraform/x'] = 'y' }
    assert.equal(0, (risk { '--comment' }))
    local now = github:bodies(github.login)
    assert.equal(1, #now)
    holds(now[1], '## Change risk: high')
    assert.same({ 'looks good' }, github:bodies 'alice')
  end)

  it('is told from others by who wrote it, on whichever page it is; doubles go', function()
    for i = 1, 130 do github:comment('alice', 'number ' .. i) end
    github:comment('mallory', MARKER .. '\nall is well, deploy')
    github:comment(github.login, 'no marker')
    github:comment(github.login, MARKER .. '\nan old report')
    github:comment(github.login, MARKER .. '\na double')
    assert.equal(0, (risk { '--comment' }))
    local ours = github:bodies(github.login)
    assert.same({ 2, 'no marker' }, { #ours, ours[1] })
    holds(ours[2], MARKER .. '\n## Change risk: medium')
    assert.same({ MARKER .. '\nall is well, deploy' }, github:bodies 'mallory')
  end)

  it('is a workflow\'s own, whose token may not ask who it is', function()
    github.is_workflow, github.login = true, 'github-actions[bot]'
    for _ = 1, 2 do assert.equal(0, (risk { '--comment' })) end
    assert.equal(1, #github:bodies 'github-actions[bot]')
  end)

  it('is an app\'s own, too', function()
    github.is_workflow, github.login = true, 'our-app[bot]'
    github:comment('mallory', MARKER .. '\nall is well, deploy')
    for _ = 1, 2 do assert.equal(0, (risk { '--comment' })) end
    assert.equal(1, #github:bodies 'our-app[bot]')
    assert.equal(1, #github:bodies 'mallory')
  end)

  it('may not be made for a fork: the summary has it, the status stays', function()
    github.is_workflow, github.is_fork = true, true
    local status, out, err = risk { '--comment', '--format', 'markdown' }
    assert.equal(0, status, err)
    holds(err, 'the comment: the token may not (Resource not accessible by integration')
    assert.equal(out .. '\n', (file.read(r.folder .. '/.git/summary')))
  end)

  it('waits for limits, and is not posted twice where an answer is lost', function()
    for _, kind in ipairs { 'primary', 'secondary' } do
      github.limits, github.limit_kind = 1, kind
      assert.equal(0, (risk { '--comment' }))
    end
    github.comments, github.loses_answers = {}, true
    assert.equal(0, (risk { '--comment' }))
    assert.equal(1, #github:bodies(github.login))
  end)

  it('that cannot be made is told, with status 3 and no word of the token', function()
    local status, _, err = risk({ '--comment' }, { token = 'not-the-token-at-all' })
    assert.equal(3, status)
    holds(err, 'Bad credentials')
    assert.is_nil(err:find('not-the-token', 1, true))
    status, _, err = risk({ '--comment' }, { token = 'not-the\n-token-at-all' })
    assert.equal(3, status)
    holds(err, 'GITHUB_TOKEN holds more than one line')
    assert.is_nil(err:find('token-at-all', 1, true))
    assert.equal(0, (risk({ '--comment' }, { token = github.token .. '\n' })))
    status, _, err = risk({ '--comment' }, { url = 'http://127.0.0.1:1' })
    assert.equal(3, status)
    holds(err, 'the comment: ')
    status, _, err = risk({ '--comment' }, { url = 'http://example.org' })
    assert.equal(3, status)
    holds(err, 'https')
  end)
end)

describe('the check run', function()
  it('is on the commit of the pull request, and fails where it is told to', function()
    assert.equal(0, (risk { '--check-run' }))
    assert.equal(1, (risk { '--check-run', '--fail-on', 'medium' }))
    assert.same({ 'neutral', 'failure' }, { github.runs[1].conclusion, github.runs[2].conclusion })
    local status, _, err = risk({ '--check-run', '--comment', '--pull-request', '8' })
    assert.equal(3, status) -- the comment has no place, the run is made all the same
    holds(err, 'the comment: Not Found')
    assert.equal(3, #github.runs)
    assert.same({ ('a'):rep(40), 'completed', 'Change risk: medium (8 points)' },
      { github.runs[1].head_sha, github.runs[1].status, github.runs[1].output.title })
  end)
end)

describe('GitHub\'s own description of its API', function()
  it('has no objection to what is asked, nor to what the fake answers', function()
    local path = file.stat(DESCRIPTION) and DESCRIPTION
    if not path then
      return pending 'no description of GitHub\'s API beside this folder: skipped'
    end
    local w <close> = setmetatable({ world = world.new 'perigee-github' },
      { __close = function(self) self.world:close() end })
    local port = world.free_port()
    w.world:start('prism', { 'node',
      node.folder .. '/node_modules/@stoplight/prism-cli/dist/index.js', 'proxy', '-h',
      '127.0.0.1', '-p', tostring(port), '--errors', path, github.url })
    local url = 'http://127.0.0.1:' .. port
    w.world:wait_for('prism', 60, function()
      return w.world:log 'prism':find('Prism is listening', 1, true)
    end)
    github:comment('alice', 'looks good')
    for i = 1, 3 do
      if i == 3 then r:commit { ['terraform/x'] = 'y' } end
      local status, _, err = risk({ '--comment' }, { url = url })
      assert.equal(0, status, err .. w.world:log 'prism')
      assert.equal('', err)
    end
    github:comment(github.login, MARKER .. '\na double')
    assert.equal(0, (risk({ '--comment' }, { url = url })))
    local asked = table.concat(github.requests, '\n')
    for _, words in ipairs { 'GET /user', 'GET /repos/acme/shop/issues/7/comments',
      'POST /repos/acme/shop/issues/7/comments', 'PATCH ', 'DELETE ' } do
      holds(asked, words)
    end
    assert.equal(1, #github:bodies(github.login))
  end)
end)
