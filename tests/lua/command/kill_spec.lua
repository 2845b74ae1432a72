local guardrails = require 'engine.guardrails'
local support = require 'lua.command.support'

describe('perigee kill', function()
  it('explains itself', function()
    support.explains_itself('kill', { 'url', 'token-file', 'json' })
    support.needs_a_service('kill', 'on')
  end)

  it('throws the switch, and takes it back', function()
    support.with_service(function(w)
      local result = w.run { 'kill', 'on' }
      assert.same({ 0, '' }, { result.status, result.err })
      assert.matches('^the kill switch is on: .*\n$', result.out)
      assert.is_not_nil(guardrails.killed(w.engine.config))
      result = w.run { 'kill', 'off' }
      assert.same({ 0, 'the kill switch is off\n' }, { result.status, result.out })
      assert.is_nil(guardrails.killed(w.engine.config))
    end)
  end)

  it('says with --json how it is now', function()
    support.with_service(function(w)
      assert.is_true(support.document(w.run { 'kill', 'on', '--json' }).on)
      assert.same({ on = false }, support.document(w.run { 'kill', 'off', '--json' }))
    end)
  end)

  it('is for admins', function()
    support.with_service(function(w)
      local result = w.run { 'kill', 'on', as = 'anna' }
      assert.same({ 3, '', 'perigee: anna has the role approver; this needs admin (status 403)\n' },
        { result.status, result.out, result.err })
      assert.is_nil(guardrails.killed(w.engine.config))
    end)
  end)

  it('takes on or off', function()
    assert.equal(2, support.run({ 'kill' }).status)
    local result = support.run { 'kill', 'On' }
    assert.same({ 2, '', 'perigee: expected "on" or "off", not "On"\n' },
      { result.status, result.out, result.err })
  end)
end)
