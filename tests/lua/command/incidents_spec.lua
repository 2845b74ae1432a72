local support = require 'lua.command.support'

describe('perigee incidents', function()
  it('explains itself', function()
    support.explains_itself('incidents', { 'state', 'url', 'token-file', 'json' })
    support.needs_a_service('incidents')
  end)

  it('lists none', function()
    support.with_service(function(w)
      local result = w.run { 'incidents' }
      assert.same({ 0, 'no incidents\n', '' }, { result.status, result.out, result.err })
      assert.same({}, support.document(w.run { 'incidents', '--json' }))
      assert.equal('[]\n', w.run({ 'incidents', '--json' }).out)
    end)
  end)

  it('lists them, with what is odd and what to do', function()
    support.with_service(function(w)
      local incident = w.go_wrong()
      local result = w.run { 'incidents' }
      assert.equal(0, result.status)
      local heads, row = result.out:match '^([^\n]+)\n([^\n]+)\n$'
      assert.same({ 'ID', 'STATE', 'NAME', 'LABELS', 'OPENED', 'ODD', 'NOW', 'RECOMMENDATION' },
        { heads:match(('(%S+)%s+'):rep(7) .. '(%S+)') })
      assert.equal(1, row:find(incident.id .. '  open', 1, true), row)
      assert.matches('slow +app="shop" +2023%-11%-14 22:13:%d%dZ +1 of 1 +Look at%?%[31m it$', row)
    end)
  end)

  it('is the API\'s bare data with --json', function()
    support.with_service(function(w)
      local incident = w.go_wrong()
      local list = support.document(w.run { 'incidents', '--json' })
      assert.equal(1, #list)
      assert.same({ incident.id, 'slow', 'open', true, 1 }, { list[1].id, list[1].name,
        list[1].state, list[1].is_incident, list[1].anomaly_count })
      assert.same({ app = 'shop' }, list[1].labels)
      local a = list[1].anomalies[1]
      assert.same({ 'latency', 5, true, 4, 100 },
        { a.signal, a.value, a.is_anomaly, a.anomaly_score, a.confidence })
      assert.equal(1, #list[1].plans)
    end)
  end)

  it('lists those in one state', function()
    support.with_service(function(w)
      w.go_wrong()
      assert.equal(1, #support.document(w.run { 'incidents', '--state', 'open', '--json' }))
      assert.equal(0, #support.document(w.run { 'incidents', '--state', 'resolved', '--json' }))
      local result = w.run { 'incidents', '--state', 'opne' }
      assert.equal(2, result.status)
      assert.equal('perigee: --state: expected open, acknowledged, mitigating or resolved, not '
        .. '"opne"\n', result.err)
    end)
  end)

  it('acknowledges one, by a person who may', function()
    support.with_service(function(w)
      local id = w.go_wrong().id
      local result = w.run { 'incidents', 'ack', id, as = 'vera' }
      local refusal = 'perigee: vera has the role viewer; this needs approver (status 403)\n'
      assert.same({ 3, '', refusal }, { result.status, result.out, result.err })
      result = w.run { 'incidents', 'ack', id, '--json', as = 'anna' }
      assert.equal(0, result.status)
      assert.equal('acknowledged', support.document(result).state)
      result = w.run { 'incidents', 'ack', id }
      assert.equal(0, result.status)
      assert.matches(id .. '  acknowledged  slow ', result.out, 1, true)
      assert.equal(3, w.run({ 'incidents', 'ack', 'inc-none' }).status)
    end)
  end)

  it('takes nothing else for an acknowledgement', function()
    for _, args in ipairs { { 'ack' }, { 'acknowledge', 'inc-1' }, { 'ack', '../plans' },
      { 'inc-1' } } do
      local result = support.run { 'incidents', table.unpack(args) }
      assert.same({ 2, '', 'perigee: expected "perigee incidents ack ID"\n' },
        { result.status, result.out, result.err })
    end
  end)
end)
