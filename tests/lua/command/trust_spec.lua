local support = require 'lua.command.support'

local function lose(w)
  w.engine.store:exec [[insert into trust (playbook, lost_at, reason)
    values ('mend', 1700000000, 'trust was lost by plan-1: 5 is not below 1')]]
end

describe('perigee trust', function()
  it('explains itself', function()
    support.explains_itself('trust', { 'url', 'token-file', 'json' })
    support.needs_a_service 'trust'
  end)

  it('lists how far playbooks are trusted, and why', function()
    support.with_service(function(w)
      w.engine.config.guardrails.trust.max = 'recommend'
      local result = w.run { 'trust', as = 'vera' }
      assert.same({ 0, '' }, { result.status, result.err })
      assert.equal([[
PLAYBOOK  DECLARED       CEILING    TRUST      BREAKER  WHY
mend      human_approve  recommend  recommend  closed   ]] .. 'trust lowered from human_approve: '
        .. 'guardrails.trust.max is recommend\n', result.out)
      local data = support.document(w.run { 'trust', '--json' })
      assert.same({ 'mend', 'recommend' }, { data[1].playbook, data[1].effective })
    end)
  end)

  it('gives back what was lost, once, by an admin', function()
    support.with_service(function(w)
      lose(w)
      local result = w.run { 'trust', 'restore', 'mend', as = 'anna' }
      assert.same({ 3, 'perigee: anna has the role approver; this needs admin (status 403)\n' },
        { result.status, result.err })
      result = w.run { 'trust', 'restore', 'mend' }
      assert.same({ 0, 'mend: trust is human_approve\n' }, { result.status, result.out })
      result = w.run { 'trust', 'restore', 'mend' }
      assert.same({ 3, 'perigee: mend has lost no trust, and its circuit breaker is closed '
        .. '(status 409)\n' }, { result.status, result.err })
      lose { engine = { store = { exec = function()
        w.engine.store:exec "update trust set lost_at = 1"
      end } } }
      assert.equal('adam', support.document(w.run { 'trust', 'restore', 'mend', '--json' })
        .restored_by)
    end)
  end)

  it('knows what there is not', function()
    support.with_service(function(w)
      local result = w.run { 'trust', 'restore', 'a b/c' }
      assert.same({ 3, 'perigee: there is no playbook "a b/c" (status 404)\n' },
        { result.status, result.err })
    end)
    for _, args in ipairs { { 'trust', 'restore' }, { 'trust', 'give', 'mend' } } do
      local result = support.run(args)
      assert.same({ 2, 'perigee: expected nothing, or "restore PLAYBOOK"\n' },
        { result.status, result.err })
    end
  end)
end)
