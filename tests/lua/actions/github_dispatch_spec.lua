local action = require 'actions.github_dispatch'
local check = require 'check'
local fake = require 'fakes.github'
local file = require 'perigee.file'
local github_client = require 'github'
local plan = require 'engine.plan'
local support = require 'lua.engine.support'

local github, context

before_each(function()
  github = fake.start()
  github.workflows = { ['rollback.yml'] = 'active', ['off.yml'] = 'disabled_manually' }
  local path = support.folder() .. '/token'
  assert(file.write(path, github.token .. '\n'))
  context = { key = 'k', github = github_client.client { api_url = github.url,
    token_file = path } }
end)
after_each(function()
  github:stop()
  support.tidy()
end)

local function args(o)
  local out, problems = check.apply(o, action.spec)
  assert(#problems == 0, problems[1] and check.words(problems[1]))
  return out
end

local ARGS = { repository = 'acme/shop', workflow = 'rollback.yml',
  inputs = { revision = '1' }, revert = { workflow = 'forward.yml', ref = 'v2' } }

describe('github.dispatch', function()
  it('takes names that lead nowhere else', function()
    local function wrong(o)
      o.repository, o.workflow = o.repository or 'acme/shop', o.workflow or 'x.yml'
      local item = { kind = 'action', name = 'github.dispatch', options = o }
      local _, problems = plan.actions { item }
      return problems[1] and check.words(problems[1]) or 'fine'
    end
    assert.equal('fine', wrong {})
    for _, o in ipairs { { repository = 'acme' }, { repository = '../x' },
      { repository = 'acme/shop/x' }, { workflow = '../x.yml' }, { workflow = 'x' },
      { ref = '-x' }, { ref = 'a b' }, { ref = 'a/../b' }, { inputs = { x = 1 } },
      { inputs = { ['a b'] = 'x' } }, { revert = { workflow = 'x' } } } do
      assert.matches('github.dispatch', wrong(o), 1, true)
    end
  end)

  it('is allowed by repository and workflow, with its revert, or not at all', function()
    local function why(rules)
      return action.allowed(args(ARGS), { github = rules and {}, guardrails = { github = rules } })
    end
    assert.equal('perigee.yaml has no "github"', why(nil))
    assert.equal('guardrails.github does not allow rollback.yml in acme/shop', why {})
    assert.equal('guardrails.github does not allow rollback.yml in acme/shop',
      why { { repository = 'acme/other' } })
    assert.equal('its revert: guardrails.github does not allow forward.yml in acme/shop',
      why { { repository = 'acme/shop', workflows = { 'rollback.yml' } } })
    assert.is_nil(why { { repository = 'acme/shop' } })
    assert.equal('github/acme/shop/rollback.yml', action.target(args(ARGS)))
  end)

  it('looks the workflow up before, and refuses one that is off or not there', function()
    local seen = assert(action.preview(args(ARGS), context))
    assert.equal('start the workflow rollback.yml of acme/shop at main', seen.summary)
    assert.same({ workflow = '9', state = 'active' }, seen.observed)
    assert.is_nil(seen.refusal)
    seen = assert(action.preview(args { repository = 'acme/shop', workflow = 'off.yml' }, context))
    assert.equal('the workflow is disabled_manually', seen.refusal)
    local none, failure = action.preview(args { repository = 'acme/shop', workflow = 'no.yml' },
      context)
    assert.is_nil(none)
    assert.equal('github/acme/shop/no.yml: Not Found (status 404)', failure.message)
    assert.is_false(failure.transient)
    assert.same({}, github.started)
  end)

  it('starts it once, and undoes it as the plan says', function()
    assert.same({ result = 'succeeded', message = 'started rollback.yml of acme/shop at main' },
      action.run(args(ARGS), context))
    assert.same({ { 'rollback.yml', { ref = 'main', inputs = { revision = '1' } } } },
      github.started)
    github.workflows['forward.yml'] = 'active'
    assert.equal('succeeded', action.revert(args(ARGS), context).result)
    assert.same({ 'forward.yml', { ref = 'v2' } }, github.started[2])
    assert.is_true(action.can_revert(args(ARGS)))
    assert.is_false(action.can_revert {})
  end)

  it('whose answer is lost is unknown and not repeated; one that was refused has failed', function()
    github.loses_answers = true
    assert.equal('unknown', action.run(args(ARGS), context).result)
    assert.equal(1, #github.started)
    github.loses_answers = false
    local outcome = action.run(args { repository = 'acme/shop', workflow = 'no.yml' }, context)
    assert.same({ result = 'failed', message = 'Not Found (status 404)' }, outcome)
    github.limits = 1
    assert.equal('succeeded', action.run(args(ARGS), context).result)
    assert.equal(2, #github.started)
  end)
end)
