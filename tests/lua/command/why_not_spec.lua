local support = require 'lua.command.support'

describe('perigee why-not', function()
  it('explains itself', function()
    support.explains_itself('why-not', { 'url', 'token-file', 'json' })
    support.needs_a_service('why-not', 'mend')
  end)

  it('tells what stands in the way of a playbook', function()
    support.with_service(function(w)
      local result = w.run { 'why-not', 'mend', as = 'vera' }
      assert.same({ 0, '' }, { result.status, result.err })
      for _, words in ipairs {
        'decides   trigger: no incident slow is active: 0 of its signals fire',
        'trust     human_approve', 'last plan none',
        '- kill_switch        the kill switch is off', '- blast_radius ' } do
        assert.matches(words, result.out, 1, true)
      end
      local _, p = w.go_wrong()
      local data = support.document(w.run { 'why-not', 'mend', '--json' })
      assert.same({ 'approval', p.id .. ' is pending', p.id },
        { data.decided.gate, data.decided.message, data.last_plan.id })
    end)
  end)

  it('names the nearest playbook for one that there is not', function()
    support.with_service(function(w)
      local result = w.run { 'why-not', 'mnd' }
      assert.same({ 3, 'perigee: there is no playbook "mnd"; did you mean "mend"? (status 404)\n' },
        { result.status, result.err })
    end)
  end)
end)
