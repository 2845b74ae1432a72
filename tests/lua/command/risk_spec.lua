local changes = require 'risk.changes'
local file = require 'perigee.file'
local json = require 'json'
local process = require 'perigee.process'
local repository = require 'lua.risk.repository'
local score = require 'risk.score'
local settings = require 'risk.settings'
local support = require 'lua.command.support'

--- Runs `perigee risk` in a repository; env as "A=b" texts.
local function risk(r, args, env)
  local line = { 'risk', table.unpack(args) }
  line.cwd, line.env = r.folder, env
  return support.run(line)
end

--- What `grep -E … | wc -l` over the names makes of it, as the workflow of old did.
local function score_of_old(r)
  local infrastructure, database = 0, 0
  for name in r:git('diff', '--name-only', 'main...HEAD'):gmatch '[^\n]+' do
    local function any(...)
      for _, word in ipairs { ... } do
        if name:find(word, 1, true) then return 1 end
      end
      return 0
    end
    infrastructure = infrastructure + any('terraform', 'k8s', 'helm')
    database = database + any('migration', 'schema')
  end
  return 3 * infrastructure + 5 * database
end

describe('perigee risk', function()
  after_each(repository.tidy)

  it('scores as the workflow of old, at every level', function()
    local cases = {
      { {}, 0, 'low', 'Standard deployment approved' },
      { { ['a.txt'] = 'x' }, 0, 'low', 'Standard deployment approved' },
      { { ['db/schema.sql'] = 'x' }, 5, 'low', 'Standard deployment approved' },
      { { ['k8s/a.yaml'] = 'x', ['helm/b'] = 'y' }, 6, 'medium',
        'Enable enhanced monitoring during deployment' },
      { { ['schema/1'] = 'x', ['schema/2'] = 'y' }, 10, 'medium',
        'Enable enhanced monitoring during deployment' },
      { { ['terraform/migration.tf'] = 'x', ['k8s/x'] = 'y' }, 11, 'high',
        'Consider staged rollout with canary deployment' },
    }
    for _, case in ipairs(cases) do
      local r = repository.new()
      if next(case[1]) then r:commit(case[1]) end
      local d = support.document(risk(r, { '--base', 'main', '--json' }))
      assert.same({ case[2], case[3], case[4] }, { d.risk_score, d.risk_level, d.recommendation })
      assert.equal(score_of_old(r), d.risk_score)
    end
  end)

  it('explains every point, file by file; a file in two categories scores in both', function()
    local r = repository.new { ['helm/old'] = ('text\n'):rep(20) }
    r:commit { ['terraform/schema.tf'] = 'x\n', ['helm/old'] = false,
      ['charts/new'] = ('text\n'):rep(20), ['bin'] = '\0' }
    local d = support.document(risk(r, { '--base', 'main', '--json' }))
    assert.same({ { 'added', 'bin', 0, {} }, { 'renamed', 'charts/new', 3, { 'infrastructure' } },
      { 'added', 'terraform/schema.tf', 8, { 'database', 'infrastructure' } } },
      (function()
        local out = {}
        for i, f in ipairs(d.files) do out[i] = { f.status, f.path, f.points, f.categories } end
        return out
      end)())
    assert.equal('infrastructure, by its old name', d.files[2].reasons[1].reason)
    assert.is_true(d.files[1].binary)
    assert.same({ database = { files = 1, points = 5 },
      infrastructure = { files = 2, points = 6 } }, d.categories)
    assert.equal(r:git('rev-parse', 'main'):match '%x+', d.base)
    local out = risk(r, { '--base', 'main' }).out
    assert.matches('high risk: 11 points, 3 files changed since %x+ %(main%)', out)
    assert.matches(
      '8%s+terraform/schema.tf%s+added%s+database %(%+5%), infrastructure %(%+3%)', out)
    assert.matches('3%s+charts/new%s+renamed from helm/old', out)
    assert.matches('1 more file without points', out, 1, true)
  end)

  it('fails where it is told to, and only then', function()
    local r = repository.new()
    r:commit { ['k8s/a'] = 'x', ['k8s/b'] = 'y' } -- 6: medium
    for level, status in pairs { low = 1, medium = 1, high = 0 } do
      assert.equal(status, risk(r, { '--base', 'main', '--fail-on', level }).status)
    end
    assert.equal(0, risk(r, { '--base', 'main' }).status)
    for _, args in ipairs { { '--fail-on', 'hihg' }, { '--format', 'xml' }, { '--base', 'nope' },
      { '--json', '--format', 'text' }, { '--source', 'x' } } do
      local result = risk(r, args)
      assert.equal(2, result.status)
      assert.matches('^perigee: ', result.err)
      assert.equal('', result.out)
    end
  end)

  it('finds its base in the environment of a workflow', function()
    local r = repository.new()
    local first = r:commit { a = 'x' }
    local last = r:commit { ['k8s/a'] = 'x' }
    local clone = r:clone()
    local function base(env)
      return support.document(risk(clone, { '--json' }, env)).base
    end
    local main = r:git('rev-parse', 'main'):match '%x+'
    assert.equal(main, base {})
    assert.equal(last, base { 'GITHUB_BASE_REF=feature' })
    local event = clone.folder .. '/event.json'
    assert(file.write(event, json.encode { before = first }))
    assert.equal(first, base { 'GITHUB_EVENT_NAME=push', 'GITHUB_EVENT_PATH=' .. event })
    assert(file.write(event, json.encode { before = ('0'):rep(40) }))
    assert.equal(main, base { 'GITHUB_EVENT_NAME=push', 'GITHUB_EVENT_PATH=' .. event })
    assert.equal(main, base { 'GITHUB_EVENT_NAME=push', 'GITHUB_EVENT_PATH=/nonexistent' })
  end)

  it('writes outputs and the summary of a step, whatever files are called', function()
    local r = repository.new()
    local name = 'k8s/`<!-- |@all\n::error::x'
    r:commit { [name] = 'x', ['schema/x'] = 'y' }
    local outputs, summary = r.folder .. '/.git/out', r.folder .. '/.git/summary'
    assert(file.write(outputs, 'before=1\n'))
    local result = risk(r, { '--base', 'main', '--format', 'markdown' },
      { 'GITHUB_OUTPUT=' .. outputs, 'GITHUB_STEP_SUMMARY=' .. summary })
    assert.equal(0, result.status, result.err)
    assert.equal('before=1\nrisk_level=medium\nrisk_score=8\n'
      .. 'recommendation=Enable enhanced monitoring during deployment\n', (file.read(outputs)))
    assert.equal(result.out .. '\n', (file.read(summary)))
    assert.matches('| 3 | ``k8s/`<!-- \\|@all?::error::x`` | added |', result.out, 1, true)
    for _, format in ipairs { 'text', 'markdown', 'json', 'codequality' } do
      local out = risk(r, { '--base', 'main', '--format', format }).out
      assert.is_nil(('\n' .. out):find('\n%s*::'), format)
    end
  end)

  it('lets no recommendation of several lines set other outputs', function()
    local r = repository.new()
    r:commit { ['k8s/x'] = 'x' }
    local own = r.folder .. '/.git/own.yaml'
    assert(file.write(own, 'recommendations:\n  low: |-\n    Wait\n    risk_level=none\n'))
    local outputs = r.folder .. '/.git/out'
    local result = risk(r, { '--base', 'main', '--settings', own }, { 'GITHUB_OUTPUT=' .. outputs })
    assert.equal(0, result.status, result.err)
    local mark, value, same = assert(file.read(outputs)):match(
      '^risk_level=low\nrisk_score=3\nrecommendation<<(%S+)\n(.*)\n(%S+)\n$')
    assert.equal(mark, same)
    assert.equal('Wait\nrisk_level=none', value)
  end)

  it('never makes Markdown that is too long for a comment', function()
    local r, files = repository.new(), {}
    local long = ('k8s/%s/%s/'):format(('d'):rep(200), ('&'):rep(250))
    for i = 1, 60 do files[long .. i] = 'x' end
    r:commit(files)
    local out = risk(r, { '--base', 'main', '--format', 'markdown' }).out
    assert.is_true(#out < 65536)
    assert.matches('10 more files', out, 1, true)
  end)

  it('scores changes at random as the pipeline of old does', function()
    math.randomseed(20261128)
    local words = { 'k8s', 'helm', 'terraform', 'schema', 'migration', 'src', 'K8S', 'a b', 'x' }
    local r = repository.new()
    for _ = 1, 12 do
      r:git('checkout', '-q', '-B', 'feature', 'main')
      local files = {}
      for i = 1, math.random(0, 6) do
        files[('%s/%s%d'):format(words[math.random(#words)],
          words[math.random(#words)], i)] = 'x'
      end
      if next(files) then r:commit(files) end
      local change = assert(changes.read(r.folder, 'main', 'HEAD'))
      assert.equal(score_of_old(r), score.files(change, settings.defaults()).points)
    end
  end)

  it('does not end well where its words are lost', function()
    local r = repository.new()
    r:commit { a = 'x' }
    local status, _, err = process.start { 'sh', '-c', '"$0" risk --base main --json >/dev/full',
      file.executable(), cwd = r.folder }:wait(60)
    assert.equal(3, status)
    assert.equal('perigee: standard output: No space left on device\n', err)
  end)

  it('is code quality for GitLab', function()
    local r = repository.new()
    r:commit { ['schema/x'] = 'y', plain = 'z' }
    local d = support.document(risk(r, { '--base', 'main', '--format', 'codequality' }))
    assert.equal(1, #d)
    assert.same({ 'perigee-risk', 'minor', { path = 'schema/x', lines = { begin = 1 } } },
      { d[1].check_name, d[1].severity, d[1].location })
    assert.matches('^%x+$', d[1].fingerprint)
  end)

  it('looks at the past where the settings ask for it', function()
    local r = repository.new { ['risk.yaml'] = [[
size: { lines: 5, weight: 1 }
age: { days: 100, weight: 2 }
ownership: { weight: 4 }
repairs: { pattern: "^Revert", days: 36500, weight: 8 }
categories: { database: { pattern: "^never$", weight: 0 } }
]], old = 'a\n', broken = 'a\n', mine = 'a\n' }
    r:git('checkout', '-q', 'main')
    r.date = ('@%d +0000'):format(os.time() - 86400)
    r:commit({ broken = 'b\n' }, 'Revert "a"')
    r.author = 'bob@example.org'
    r:commit({ mine = 'b\n' }, 'by bob')
    r:git('checkout', '-q', '-B', 'feature')
    r:commit { old = 'c\n', broken = 'c\n', mine = ('c\n'):rep(9), new = 'c\n' }
    local d = support.document(risk(r, { '--base', 'main', '--json' }))
    local points, reasons = {}, {}
    for _, f in ipairs(d.files) do
      points[f.path] = f.points
      for _, reason in ipairs(f.reasons) do
        reasons[#reasons + 1] = ('%s: %s'):format(f.path, reason.kind)
      end
    end
    assert.same({ old = 6, broken = 12, mine = 1, new = 0 }, points)
    table.sort(reasons)
    assert.same({ 'broken: ownership', 'broken: repairs', 'mine: size', 'old: age',
      'old: ownership' }, reasons)
    assert.matches('by risk.yaml as it was at', d.notes[1], 1, true)
  end)

  it('says that its own settings are changed, and takes those of before', function()
    local form = 'categories: { database: { pattern: sql, weight: %d } }'
    local r = repository.new { ['risk.yaml'] = form:format(50) }
    r:commit { ['risk.yaml'] = form:format(0), ['a.sql'] = 'x' }
    local d = support.document(risk(r, { '--base', 'main', '--json' }))
    assert.equal(50, d.risk_score)
    assert.matches('changed by this very change', d.notes[2], 1, true)
  end)

  it('tells what is wrong with the settings by file and line', function()
    local r = repository.new { ['risk.yaml'] = 'levels:\n  high: lots\n' }
    r:commit { a = 'x' }
    local result = risk(r, { '--base', 'main' })
    assert.equal(2, result.status)
    assert.matches('perigee: risk.yaml:2:%d+: levels.high: expected a number', result.err)
  end)
end)
