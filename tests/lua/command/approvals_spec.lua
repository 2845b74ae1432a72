local json = require 'perigee.json'
local support = require 'lua.command.support'

describe('perigee approvals', function()
  it('explains itself', function()
    support.explains_itself('approvals', { 'url', 'token-file', 'json' })
    support.needs_a_service('approvals')
  end)

  it('lists none', function()
    support.with_service(function(w)
      local result = w.run { 'approvals' }
      assert.same({ 0, 'no plan waits for a decision\n', '' },
        { result.status, result.out, result.err })
      assert.equal('[]\n', w.run({ 'approvals', '--json' }).out)
    end)
  end)

  it('shows everything that an approval is about', function()
    support.with_service(function(w)
      local incident, plan = w.go_wrong()
      local result = w.run { 'approvals', as = 'vera' }
      assert.same({ 0, '' }, { result.status, result.err })
      assert.equal(('%s  pending  trust human_approve\n'):format(plan.id)
        .. '  playbook  mend\n'
        .. ('  incident  %s\n'):format(incident.id)
        .. ('  digest    %s\n'):format(plan.digest)
        .. '  approvals 0 of 1 given\n'
        .. '  expires   2023-11-14 22:28:40Z\n'
        .. '  1. http.request { body = a?[1mb, headers = {"X-A":"b"}, method = POST, '
        .. 'url = http://shop/rollback }\n', result.out)
    end)
  end)

  it('shows what would change, as the dry run said', function()
    support.with_service(function(w)
      w.go_wrong()
      w.engine.store:exec('update plans set previews = ?', json.encode { { current = '3',
        summary = 'scale \27shop', proposed = '5', diff = '- replicas: 3\n+ replicas: 5',
        warnings = { 'near its limit' } } })
      local out = w.run({ 'approvals', as = 'vera' }).out
      assert.truthy(out:find('     scale ?shop\n     3 → 5\n     warning: near its limit\n'
        .. '     | - replicas: 3\n     | + replicas: 5\n', 1, true), out)
    end)
  end)

  it('is the API\'s bare data with --json', function()
    support.with_service(function(w)
      local incident, plan = w.go_wrong()
      local list = support.document(w.run { 'approvals', '--json' })
      assert.equal(1, #list)
      local p = list[1]
      assert.same({ plan.id, plan.digest, 'mend', incident.id, 'human_approve', 'pending' },
        { p.id, p.digest, p.playbook, p.incident_id, p.trust, p.state })
      assert.same({ 'http.request', 'waiting' }, { p.actions[1].name, p.actions[1].state })
      assert.same({}, p.decisions)
      assert.equal('2023-11-14T22:28:40.000Z', p.expires_at)
    end)
  end)

  it('says why it may not look', function()
    support.with_service(function(w)
      local result = w.run { 'approvals', as = false }
      assert.same({ 3, '', 'perigee: a bearer token is needed, and it must be a known one (status '
        .. '401)\n' }, { result.status, result.out, result.err })
    end)
  end)
end)
