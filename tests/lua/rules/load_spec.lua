local file = require 'perigee.file'
local load_rules = require 'rules.load'
local support = require 'lua.rules.support'

after_each(support.tidy)

local SIGNAL = 'signal "a" { query = "up", detector = threshold { above = 1 } }\n'

--- What is said of files that a shell command has made.
local function said_of(command, name)
  local folder = support.folder()
  os.execute(("cd '%s' && %s"):format(folder, command))
  local path = folder .. '/' .. name
  local _, problems = load_rules.load({ path }, { every = 30, limits = {} })
  assert(#problems == 1, #problems .. ' problems')
  assert.same({ path, 0 }, { problems[1].file, problems[1].line })
  return (problems[1].message:gsub(folder:gsub('%p', '%%%0') .. '/', ''))
end

describe('all files are read', function()
  it('and every error of every one is told, by file, line and column', function()
    assert.same({
      'a.lua:2:1: signal "x": unknown option "zz"; known are annotations, detector, every, '
        .. 'hold_for, keep_firing_for, labels, query',
      'a.lua:4:8: signal "y": every: expected at least 1s, not "0s"',
      'b.lua:3: unexpected symbol near \'}\'',
      'c.lua:1:28: incident "i": signals[1]: there is no signal "none"',
      'd.lua:1:14: signal "w": query: expected a text, not 1',
      'd.lua:2: boo',
    }, (support.load {
      ['a.lua'] = 'signal "x" { query = "up", detector = threshold { above = 1 },\nzz = 1 }\n'
        .. 'signal "y" { query = "up", detector = threshold { above = 1 },\n       every = "0s" }',
      ['b.lua'] = 'signal "z" {\nquery = "up",\n}}',
      ['c.lua'] = 'incident "i" { signals = { "none" }, min_signals = 1 }',
      ['d.lua'] = 'signal "w" { query = 1, detector = threshold { above = 1 } }\nerror "boo"',
    }))
  end)

  it('and none is needed', function()
    local problems, _, set = support.load {}
    assert.same({ {}, {}, {}, {} }, { problems, set.signals, set.incidents, set.playbooks })
  end)

  it('each with a digest, of what it requires too, and of nothing else', function()
    local folder = support.folder()
    local function digest(rules, lib)
      assert(file.write(folder .. '/a.lua', rules))
      assert(file.write(folder .. '/lib.lua', lib))
      local set, problems = load_rules.load({ folder .. '/a.lua' }, { every = 30, limits = {} })
      assert.same({}, problems)
      return set.files[1].digest
    end
    local one = digest('require "lib"', '')
    assert.not_equal(one, digest('require "lib"', '--'))
    assert.not_equal(one, digest('require "lib" ', ''))
    assert.equal(one, digest('require "lib"', ''))
    assert.equal(digest('', ''), digest('', '--'))
  end)
end)

describe('a file', function()
  it('may be empty, have Windows\' line ends, or begin with a byte order mark', function()
    for _, text in ipairs { '', '\n', '-- nothing', '\xef\xbb\xbf', '\xef\xbb\xbf' .. SIGNAL,
      (SIGNAL:gsub(', ', ',\r\n')) } do
      assert.same({}, (support.load(text)))
    end
    assert.same({ 'r.lua:3:1: signal "a": unknown option "z"; known are annotations, detector, '
      .. 'every, hold_for, keep_firing_for, labels, query' },
      (support.load(
        'signal "a" { query = "up",\r\ndetector = threshold { above = 1 },\r\nz = 1 }')))
  end)

  it('may hold any bytes, but its declarations are UTF-8', function()
    assert.same({}, (support.load('-- \xe4\n' .. SIGNAL)))
    assert.same({ 'r.lua:1: the name of a signal is one line of UTF-8, of at most 200 bytes' },
      (support.load 'signal "\xe4" { query = "up", detector = threshold { above = 1 } }'))
    for body, path in pairs { ['query = "\xe4"'] = '.query',
      ['labels = { a = "\xe4" }'] = '.labels.a', ['labels = { ["\xe4"] = "" }'] = '.labels' } do
      assert.same({ ('r.lua:1: signal "a"%s is not UTF-8'):format(path) },
        (support.load(('signal "a" { %s }'):format(body))))
    end
  end)

  it('has names of one line that fit the store and the metrics', function()
    for _, name in ipairs { '\\0', 'a\\nb', '\\27[31m', ('x'):rep(201) } do
      assert.same({ 'r.lua:1: the name of an incident is one line of UTF-8, of at most 200 bytes' },
        (support.load(('incident "%s" {}'):format(name))))
    end
    local _, _, set = support.load(SIGNAL:gsub('"a"', '"' .. ('ä'):rep(100) .. '"'))
    assert.truthy(set.signals[('ä'):rep(100)])
  end)

  it('that cannot be read is told with the reason', function()
    assert.equal('cannot read r.lua: No such file or directory', said_of('true', 'r.lua'))
    assert.equal('cannot read r.lua: No such file or directory',
      said_of('ln -s none r.lua', 'r.lua'))
    assert.equal('cannot read r.lua: Too many levels of symbolic links',
      said_of('ln -s r.lua r.lua', 'r.lua'))
    assert.equal('cannot read r.lua: Is a directory', said_of('mkdir r.lua', 'r.lua'))
    assert.equal('cannot read r.lua: Invalid argument', said_of('mkfifo r.lua', 'r.lua'))
    assert.equal('cannot read r.lua: File too large',
      said_of('head -c 130049 /dev/zero >r.lua', 'r.lua'))
  end)

  it('that nobody may read is told with the reason', function()
    local folder = support.folder()
    os.execute(("cd '%s' && touch r.lua && chmod 0 r.lua"):format(folder))
    if file.read(folder .. '/r.lua') then return end -- root reads everything
    local _, problems = load_rules.load({ folder .. '/r.lua' }, { every = 30, limits = {} })
    assert.matches('Permission denied', problems[1].message, 1, true)
  end)
end)

describe('a slip of the pen is told with what was meant', function()
  for text, expected in pairs {
    ['signal "a" { query = "up" every = "5s" }'] =
      "r.lua:1: '}' expected near 'every'; is a comma missing before it?",
    ['signal "a" {\n  for = "5m" }'] =
      "r.lua:2: unexpected symbol near 'for'; Prometheus' `for` is hold_for here",
    ['signal "a" { every = 30s }'] =
      "r.lua:1: malformed number near '30s'; a duration is a text: \"7d\"",
    ['signal "a" { "query" = "up" }'] =
      "r.lua:1: '}' expected near '='; the name of an option stands without quotes",
    ['signal "a" { query = "up"'] = "r.lua:1: '}' expected near <eof>",
    ['sginal "a" {}'] = 'r.lua:1: unknown name "sginal"; did you mean "signal"?',
    ['\nlocal f = Threshold {}'] = 'r.lua:2: unknown name "Threshold"; did you mean "threshold"?',
    ['local r = http.requst {}'] =
      'r.lua:1: unknown name "http.requst"; did you mean "http.request"?',
    ['signal "a"'] = 'r.lua:1: signal "a" is only named: a table { … } must follow to declare it',
    ['signal("a", { query = "up" })'] =
      'r.lua:1: signal takes a name in quotes and then a table: signal "name" { … }',
    ['signal { query = "up" }'] =
      'r.lua:1: signal takes a name in quotes and then a table: signal "name" { … }',
    ['signal "" {}'] =
      'r.lua:1: signal takes a name in quotes and then a table: signal "name" { … }',
    ['signal "a" "b"'] = 'r.lua:1: signal "a" takes a table { … }, not a string',
    ['incident "a" (5)'] = 'r.lua:1: incident "a" takes a table { … }, not a number',
    ['signal "a" { [true] = 1 }'] =
      'r.lua:1: signal "a" has a key that is a boolean; expected a name',
    ['local t = {} t.t = t\nsignal "a" (t)'] =
      'r.lua:2: signal "a".t.t.t.t.t.t.t.t.t.t.t.t.t is nested too deep, or in a circle',
    ['local t\nsignal "a" { query = t.x }'] =
      "r.lua:2: attempt to index a nil value (local 't')",
  } do
    it(text, function() assert.same({ expected }, (support.load(text))) end)
  end

  it('in a file that is required, at its own place', function()
    assert.same({ 'lib.lua:2: unknown name "zebra"' },
      (support.load { ['a.lua'] = 'require "lib"', ['lib.lua'] = '\nreturn zebra' }))
    assert.same({ "lib.lua:1: '}' expected near 'b'; is a comma missing before it?" },
      (support.load { ['a.lua'] = 'require "lib"', ['lib.lua'] = 'return { a = 1 b = 2 }' }))
  end)
end)

describe('a plan is tried on a made-up event', function()
  local function playbook(body, when)
    return ('%splaybook "p" { when = %s, trust = "auto", plan = function(event)\n%s\nend }'):format(
      SIGNAL .. 'incident "i" { signals = { "a" }, min_signals = 1, group_by = { "app" } }\n',
      when or 'incident "i"', body)
  end

  it('that has what real ones have', function()
    for when, names in pairs {
      ['incident "i"'] = 'trigger labels.app time incident.id incident.name incident.state '
        .. 'incident.labels.app incident.anomaly_count incident.anomalies.1.signal '
        .. 'incident.anomalies.1.value incident.anomalies.1.reason incident.anomalies.1.since '
        .. 'incident.recommendation incident.opened_at incident.plans',
      ['metric { query = "up" }'] = 'trigger labels time value since',
    } do
      local problems, warnings = support.load(playbook(([[
        for path in ('%s'):gmatch '%%S+' do
          local at = event
          for name in path:gmatch '[^.]+' do at = at[tonumber(name) or name] end
          if at == nil then error(path .. ' is missing', 0) end
        end
        return {}]]):format(names), when))
      assert.same({ {}, {} }, { problems, warnings })
    end
  end)

  for body, message in pairs {
    ['return 5'] = 'expected a list of actions, not 5',
    ['return "restart"'] = 'expected a list of actions, not "restart"',
    ['return true'] = 'expected a list of actions, not true',
    ['return http.request { method = "GET", url = "http://x" }'] =
      'expected a list of actions, not one of them: { … { … } }',
    ['return { { kind = "action", name = "nope", options = {} } }'] =
      '[1]: expected an action such as http.request { … } or verify { … }, not a table',
    ['return { verify { query = "up", below = 1 } }'] = '[1]: verify: option "within" is missing',
    ['return { verify { query = "up", below = 0/0, within = "1m" } }'] =
      '[1].below: verify: expected a number, not ' .. tostring(0 / 0),
    ['return { verify { query = "up", below = 1, within = "1m", [true] = 1 } }'] =
      '[1].true: verify: unknown option "true"; known are above, below, equals, otherwise, query, '
      .. 'within',
    ['return { http.request { method = "POST", url = "http://x", body = { x = 1/0 } } }'] =
      '[1].body: http.request: this table cannot be written as JSON',
    ['local t = {} for i = 1, 51 do t[i] = verify { query = "up", below = 1, within = "1m" } end '
      .. 'return t'] = '51 actions; at most 50',
  } do
    it('and what is no plan is an error: ' .. body, function()
      assert.same({ 'r.lua:3:53: playbook "p": plan: returns what is no valid plan: ' .. message },
        (support.load(playbook(body))))
    end)
  end

  for body, warning in pairs {
    ['return { http.requst {} }'] =
      'r.lua:4: playbook "p": the plan fails on a made-up event: unknown name "http.requst"; '
      .. 'did you mean "http.request"?',
    ['\nerror "no"'] = 'r.lua:5: playbook "p": the plan fails on a made-up event: no',
    ['return event.labels.app.x.y'] = 'r.lua:4: playbook "p": the plan fails on a made-up event: '
      .. "attempt to index a nil value (field 'x')",
    ['return { print }'] = 'r.lua:3: playbook "p": the plan fails on a made-up event: '
      .. 'the result[1] is a function; only plain values go here',
    ['while true do end'] = 'r.lua:4: playbook "p": the plan fails on a made-up event: '
      .. 'took more than 1000000 instructions',
  } do
    it('and what may be the event\'s fault is a warning: ' .. body, function()
      local problems, warnings = support.load(playbook(body))
      assert.same({ {}, { warning } }, { problems, warnings })
    end)
  end

  it('unless it plans nothing, or is not run', function()
    assert.same({ {}, {} }, { support.load(playbook 'return nil'), {} })
    local problems, warnings = support.load(
      'playbook "p" { when = metric { query = "up" }, plan = { } }')
    assert.same({ {}, {} }, { problems, warnings })
  end)
end)

describe('the group that a playbook wants its approvals from', function()
  it('is one of the operator\'s', function()
    local path = support.folder() .. '/x.lua'
    assert(file.write(path, table.concat({ 'playbook "p" {',
      '  when = metric { query = "x" }, trust = "human_approve",',
      '  approval = { quorum = 2, group = "sra" },',
      '  plan = { notify { text = "x" } } }' }, '\n')))
    local function problems(groups)
      local _, found = load_rules.load({ path }, { every = 30, limits = {}, groups = groups })
      return found
    end
    assert.same({}, problems(nil))
    assert.same({}, problems { sra = {} })
    local found = problems { sre = {} }
    assert.same({ 3, 'playbook "p": unknown group of approvals.groups "sra"; '
      .. 'did you mean "sre"?' }, { found[1].line, found[1].message })
  end)
end)
