local clock = require 'perigee.clock'
local support = require 'lua.command.support'

local function begin(w)
  for i = 1, 11 do
    w.engine.store:exec([[insert into incidents (id, name, group_key, state, opened_at, updated_at,
      data) values (?, 'slow', ?, 'open', ?, ?, '{"anomalies":[],"labels":{}}')]], 'inc-' .. i, i,
      clock.now(), clock.now())
  end
end

describe('perigee storm', function()
  it('explains itself', function()
    support.explains_itself('storm', { 'url', 'token-file', 'json' })
    support.needs_a_service 'storm'
  end)

  it('tells whether there is one, by its exit status too', function()
    support.with_service(function(w)
      local result = w.run { 'storm', as = 'vera' }
      assert.same({ 0, 'there is no storm: 0 incidents within 10m; guardrails.storm allows 10\n' },
        { result.status, result.out })
      begin(w)
      result = w.run { 'storm', as = 'vera' }
      assert.equal(1, result.status)
      assert.matches('^a storm has stopped all automation since .*: 11 incidents within 10m; '
        .. 'guardrails.storm allows 10\n$', result.out)
    end)
  end)

  it('ends it, as an admin', function()
    support.with_service(function(w)
      begin(w)
      assert.is_true(support.document(w.run { 'storm', '--json' }).on)
      assert.equal(3, w.run({ 'storm', 'end', as = 'anna' }).status)
      assert.is_false(support.document(w.run { 'storm', 'end', '--json' }).on)
      local result = w.run { 'storm', 'end' }
      assert.same({ 3, 'perigee: there is no storm (status 409)\n' }, { result.status, result.err })
    end)
  end)

  it('takes "end" or nothing', function()
    local result = support.run { 'storm', 'over' }
    assert.same({ 2, 'perigee: expected nothing, or "end", not "over"\n' },
      { result.status, result.err })
  end)
end)
