--- rules/self_healing.lua and rules/remediations.yaml, as they are shipped: the same three
--- remediations, in Lua and in YAML.
local check = require 'check'
local config = require 'config'
local json = require 'perigee.json'
local load_rules = require 'rules.load'
local plan = require 'engine.plan'

local LUA, YAML = 'rules/self_healing.lua', 'rules/remediations.yaml'

local function load(path)
  local set, problems, warnings = load_rules.load({ path }, { every = 30, limits = {} })
  assert.same({ 0, 0 }, { #problems, #warnings },
    (problems[1] or warnings[1]) and config.problem_text(problems[1] or warnings[1]))
  return set.playbooks
end

--- The actions that a playbook comes to for an event, as a plan keeps them.
local function actions_of(playbook, event)
  local list, fault
  if playbook.resolve then
    list, fault = playbook.resolve({}, event)
  else
    list, fault = playbook.plan(event)
  end
  assert(list, fault and fault.message)
  local actions, problems = plan.actions(list)
  assert(#problems == 0, problems[1] and check.words(problems[1]))
  return json.encode(json.array(actions))
end

local LABELS = { namespace = 'shop', pod = 'checkout-5d9-x2x', deployment = 'checkout',
  workload = 'checkout' }

describe('rules/self_healing.lua', function()
  it('loads without an error or a warning', function()
    assert.same({ 'horizontal-scale', 'pod-restart', 'rollback-deployment' },
      check.names(load(LUA)))
  end)

  it('does what rules/remediations.yaml does', function()
    local ours, theirs = load(LUA), load(YAML)
    assert.same(check.names(theirs), check.names(ours))
    for name, playbook in pairs(ours) do
      local other = theirs[name]
      assert.same({ other.trust, other.when.kind, other.when.hold_for, other.cooldown },
        { playbook.trust, playbook.when.kind, playbook.when.hold_for, playbook.cooldown }, name)
      local event = { trigger = playbook.when.kind, labels = LABELS, time = 0, value = 1 }
      assert.equal(actions_of(other, event), actions_of(playbook, event), name)
    end
  end)

  it('acts on the very object that the labels name', function()
    local seen = {}
    for name, playbook in pairs(load(LUA)) do
      seen[name] = json.decode(actions_of(playbook,
        { trigger = playbook.when.kind, labels = LABELS, time = 0, value = 1 }))[1]
    end
    assert.same({
      ['pod-restart'] = { name = 'kubernetes.restart',
        args = { namespace = 'shop', pod = 'checkout-5d9-x2x' } },
      ['horizontal-scale'] = { name = 'kubernetes.scale', args = { namespace = 'shop',
        deployment = 'checkout', increment = 2, min = 2, max = 10 } },
      ['rollback-deployment'] = { name = 'kubernetes.rollback', args = { namespace = 'shop',
        deployment = 'checkout', revisions_back = 1 } },
    }, seen)
  end)
end)
