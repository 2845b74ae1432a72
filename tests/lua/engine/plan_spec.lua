local check = require 'check'
local hash = require 'perigee.hash'
local json = require 'perigee.json'
local plan = require 'engine.plan'

local function request(options)
  return { kind = 'action', name = 'http.request', options = options }
end

local function post(url, more)
  local options = { method = 'POST', url = url }
  for k, v in pairs(more or {}) do options[k] = v end
  return request(options)
end

local function verify(more)
  local options = { query = 'x', below = 1, within = '5m' }
  for k, v in pairs(more or {}) do options[k] = v end
  return { kind = 'action', name = 'verify', options = options }
end

--- What is wrong with a list of actions.
local function words(list)
  local _, problems = plan.actions(list)
  local out = {}
  for i, p in ipairs(problems) do out[i] = check.words(p) end
  return out
end

describe('plan.actions', function()
  it('reads actions as they were written', function()
    local written = { post('http://shop/a', { body = { to = 'v1', list = { 1, 2 } } }),
      verify { within = '10m' } }
    local actions, problems = plan.actions(written)
    assert.same({}, problems)
    assert.same({ { name = 'http.request', args = { method = 'POST', url = 'http://shop/a',
      body = { to = 'v1', list = { 1, 2 } } } },
      { name = 'verify', args = { query = 'x', below = 1, within = '10m' } } }, actions)
    written[1].options.body.list[1] = 'changed'
    assert.equal(1, actions[1].args.body.list[1])
    assert.same({}, (plan.actions {}))
  end)

  it('tells everything that is wrong, by action and argument', function()
    assert.same({ '[1]: http.request: option "method" is missing',
      '[1]: http.request: option "url" is missing',
      '[2].within: verify: expected at least 1s, not "0s"',
      '[3]: verify: exactly one of "below", "above" and "equals" is needed',
      '[4].body: http.request: this table cannot be written as JSON' },
      words { request {}, verify { within = '0s' }, verify { above = 2 },
        post('http://a', { body = { 0 / 0 } }) })
  end)

  it('takes a list of actions, and nothing else', function()
    assert.same({ 'expected a list of actions, not 5' }, words(5))
    assert.same({ 'expected a list of actions' }, words(nil))
    assert.same({ 'expected a list of actions, not one of them: { … { … } }' },
      words(post 'http://a'))
    assert.same({ 'expected a list of actions, not a function' },
      words { kind = 'function', id = 1 })
    assert.same({ 'a list of actions has no field "first"' }, words { first = post 'http://a' })
    assert.same({ '[1]: expected an action such as http.request { … } or verify { … }, not 1' },
      words { 1 })
    assert.same({ '[1]: expected an action such as http.request { … } or verify { … }, '
      .. 'not a table' }, words { { kind = 'detector', name = 'verify', options = {} } })
    assert.same({ '[1]: http.request: expected a table of arguments, not "x"' },
      words { request 'x' })
    assert.same({ '[1]: http.request: expected a table of arguments, not a function' },
      words { request { kind = 'function', id = 1 } })
  end)

  it('takes fifty actions at most', function()
    local list = {}
    for i = 1, 51 do list[i] = post 'http://a' end
    assert.same({ '51 actions; at most 50' }, words(list))
    list[51] = nil
    assert.equal(50, #plan.actions(list))
  end)

  it('reverts only what says how', function()
    local undo = { revert = { method = 'POST', url = 'http://shop/undo' } }
    local reverting = verify { otherwise = 'revert' }
    local refusal = 'verify: otherwise = "revert", and no action before it says how it is reverted'
    assert.same({}, words { post('http://a', undo), post 'http://b', reverting })
    assert.same({ '[1].otherwise: ' .. refusal }, words { reverting, post('http://a', undo) })
    assert.same({ '[2].otherwise: ' .. refusal }, words { post 'http://a', reverting })
    assert.same({}, words { post 'http://a', verify { otherwise = 'page' } })
  end)
end)

describe('plan.arguments', function()
  it('are what an action runs with: defaults, and durations in seconds', function()
    assert.same({ query = 'x', below = 1, within = 300, otherwise = 'page' },
      plan.arguments { name = 'verify', args = verify().options })
    assert.same({ method = 'POST', url = 'http://a', timeout = 3 },
      plan.arguments { name = 'http.request', args = post('http://a', { timeout = '3s' }).options })
  end)
end)

describe('plan.digest', function()
  it('is the SHA-256 of RFC 8785\'s JSON of playbook, trust and actions', function()
    -- printf '{"actions":[],"playbook":"mend","trust":"auto"}' | sha256sum
    assert.equal('sha256:00b34d881cc898112d20d050c3a4c3dd5cb60654638f97be9338f90433d5e6d0',
      plan.digest('mend', 'auto', {}))
    local actions = plan.actions { post('http://a/', { body = { n = 1.0, big = 1e21, z = 0.1,
      ['€'] = 'ü', ['\u{1F600}'] = 2, ['\u{FB33}'] = true, empty = {} } }) }
    assert.equal('sha256:' .. hash.sha256('{"actions":[{"args":{"body":{"big":1e+21,"empty":'
      .. json.encode {} .. ',"n":1,"z":0.1,"€":"ü","\u{1F600}":2,"\u{FB33}":true},"method":'
      .. '"POST","url":"http://a/"},"name":"http.request"}],"playbook":"mend","trust":"auto"}'),
      plan.digest('mend', 'auto', actions))
  end)

  it('is the same for the plan read back from the store', function()
    local actions = plan.actions { post('http://a/', { headers = {}, body = { list = {}, x = 0.1,
      deep = { { { 'é' } } } } }), verify() }
    assert.equal(plan.digest('mend', 'auto', actions),
      plan.digest('mend', 'auto', json.decode(json.encode(json.array(actions)))))
  end)

  it('differs with the playbook, the trust, and every part of an action', function()
    local seen = {}
    local function add(playbook, trust, ...)
      local digest = plan.digest(playbook, trust, (plan.actions { ... }))
      assert.is_nil(seen[digest])
      seen[digest] = true
    end
    add('mend', 'auto')
    add('mand', 'auto')
    add('mend', 'human_approve')
    add('mend', 'auto', post 'http://a')
    add('mend', 'auto', post 'http://b')
    add('mend', 'auto', post 'http://a', post 'http://b')
    add('mend', 'auto', post 'http://b', post 'http://a')
    add('mend', 'auto', post('http://a', { body = '1' }))
    add('mend', 'auto', post('http://a', { body = { 1 } }))
    add('mend', 'auto', verify())
    add('mend', 'auto', verify { within = '300s' })
  end)

  it('looks at name and arguments alone, not at what has come of an action', function()
    local actions = plan.actions { post 'http://a' }
    local before = plan.digest('mend', 'auto', actions)
    actions[1].state, actions[1].outcome = 'succeeded', { status = 200 }
    assert.equal(before, plan.digest('mend', 'auto', actions))
  end)
end)
