local support = require 'lua.command.support'

describe('perigee why', function()
  it('explains itself', function()
    support.explains_itself('why', { 'url', 'token-file', 'json' })
    support.needs_a_service('why', 'plan-1')
  end)

  it('tells the story of a plan, and of an incident', function()
    support.with_service(function(w)
      local incident, p = w.go_wrong()
      local result = w.run { 'why', p.id, as = 'vera' }
      assert.same({ 0, '' }, { result.status, result.err })
      for _, words in ipairs { p.id .. '  pending  mend',
        'decided   approval: it waits for a person',
        'trigger   incident {app="shop"}', '- latency            5: ', 'trust     human_approve',
        '- guardrails.trust.max guardrails.trust.max is auto', 'gates     when it was made, ',
        '- partial_data       the data is whole', 'action 1  http.request waiting' } do
        assert.matches(words, result.out, 1, true)
      end
      local of_incident = w.run { 'why', incident.id }
      assert.equal(0, of_incident.status)
      assert.equal(1, of_incident.out:find(incident.id .. '  open  slow {app="shop"}', 1, true))
      assert.matches(p.id, of_incident.out, 1, true)
    end)
  end)

  it('is a document with --json', function()
    support.with_service(function(w)
      local incident, p = w.go_wrong()
      local data = support.document(w.run { 'why', p.id, '--json' })
      assert.same({ p.id, 'approval' }, { data.id, data.decided.gate })
      data = support.document(w.run { 'why', incident.id, '--json' })
      assert.same({ incident.id, p.id }, { data.id, data.plans[1].id })
    end)
  end)

  it('knows what there is not', function()
    support.with_service(function(w)
      local result = w.run { 'why', 'plan-0' }
      assert.same({ 3, '', 'perigee: there is no such plan (status 404)\n' },
        { result.status, result.out, result.err })
      result = w.run { 'why', 'inc-0' }
      assert.same({ 3, 'perigee: there is no such incident (status 404)\n' },
        { result.status, result.err })
      result = w.run { 'why', 'a/b' }
      assert.same({ 2, 'perigee: "a/b" is no id of a plan or an incident\n' },
        { result.status, result.err })
    end)
  end)
end)
