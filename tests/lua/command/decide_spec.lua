local plans = require 'engine.plans'
local support = require 'lua.command.support'

for verb, decision in pairs { approve = 'approved', reject = 'rejected' } do
  describe('perigee ' .. verb, function()
    it('explains itself', function()
      support.explains_itself(verb, { 'digest', 'reason', 'url', 'token-file', 'json' })
      support.needs_a_service(verb, 'plan-1')
    end)

    it('decides about a plan, as a person, by the command line', function()
      support.with_service(function(w)
        local _, plan = w.go_wrong()
        local result = w.run { verb, plan.id, '--reason', 'it is\27[1m late', as = 'anna' }
        assert.same({ 0, '' }, { result.status, result.err })
        assert.matches('^' .. plan.id:gsub('%-', '%%-') .. '  ' .. decision, result.out)
        assert.matches(('\n  %s by anna (cli) at 2023-11-14 22:13:40Z: it is?[1m late\n'):format(
          decision), result.out, 1, true)
        assert.equal(decision, plans.get(w.engine.store, plan.id).state)
      end)
    end)

    it('is the plan with --json', function()
      support.with_service(function(w)
        local _, plan = w.go_wrong()
        local p = support.document(w.run { verb, plan.id, '--json' })
        assert.same({ plan.id, decision }, { p.id, p.state })
        assert.same({ 'adam', 'cli', decision },
          { p.decisions[1].who, p.decisions[1].via, p.decisions[1].decision })
      end)
    end)

    it('is bound to the digest that was shown', function()
      support.with_service(function(w)
        local _, plan = w.go_wrong()
        local result = w.run { verb, plan.id, '--digest', 'sha256:' .. ('0'):rep(64) }
        assert.same({ 3, '' }, { result.status, result.out })
        assert.matches('%(status 409%)\n$', result.err)
        assert.equal('pending', plans.get(w.engine.store, plan.id).state)
        assert.equal(0, w.run({ verb, plan.id, '--digest', plan.digest }).status)
      end)
    end)

    it('is done once', function()
      support.with_service(function(w)
        local _, plan = w.go_wrong()
        assert.equal(0, w.run({ verb, plan.id }).status)
        local again = w.run { verb, plan.id }
        assert.same({ 3, '' }, { again.status, again.out })
        assert.matches('%(status 409%)\n$', again.err)
      end)
    end)

    it('is for those who may, and about plans that there are', function()
      support.with_service(function(w)
        local _, plan = w.go_wrong()
        local result = w.run { verb, plan.id, as = 'vera' }
        assert.equal(3, result.status)
        assert.matches('%(status 403%)\n$', result.err)
        result = w.run { verb, 'plan-none' }
        assert.same({ 3, 'perigee: there is no such plan (status 404)\n' },
          { result.status, result.err })
        assert.equal('pending', plans.get(w.engine.store, plan.id).state)
      end)
    end)

    it('takes one id, and nothing else for one', function()
      assert.equal(2, support.run({ verb }).status)
      assert.equal(2, support.run({ verb, 'a', 'b' }).status)
      local result = support.run { verb, '../kill_switch' }
      assert.same({ 2, 'perigee: "../kill_switch" is no id of a plan\n' },
        { result.status, result.err })
    end)
  end)
end
