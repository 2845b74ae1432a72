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

describe('a plan with a dry run', function()
  it('is shown with what would change', function()
    local plan_view = require 'command.plan_view'
    local lines, old = {}, print
    print = function(text) lines[#lines + 1] = text end -- luacheck: ignore
    local ok, message = pcall(plan_view.show, { id = 'plan-1', state = 'pending',
      trust = 'human_approve', playbook = 'mend', digest = 'sha256:0', decisions = {},
      expires_at = '2023-11-14T22:28:40.000Z',
      approvals = { given = 1, needed = 2, group = 'sre' }, actions = { { name = 'x', args = {},
        preview = { summary = 'scale \27shop', current = '3', proposed = '5',
          diff = '- replicas: 3\n+ replicas: 5', warnings = { 'near its limit' } } } } })
    print = old -- luacheck: ignore
    assert(ok, message)
    local text = table.concat(lines, '\n')
    for _, words in ipairs { 'approvals 1 of 2 given, by members of sre', '     scale ?shop',
      '     3 → 5', '     warning: near its limit', '     | - replicas: 3\n     | + replicas: 5' } do
      assert.truthy(text:find(words, 1, true), words)
    end
  end)
end)
