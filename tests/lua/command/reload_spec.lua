local support = require 'lua.command.support'

--- What `perigee reload` makes of what comes of a reload.
local function reload(outcome, args)
  local result
  support.daemon.outcome = outcome
  support.with_service(function(w) result = w.run { 'reload', table.unpack(args or {}) } end)
  support.daemon.outcome = { true, {} }
  return result
end

describe('perigee reload', function()
  it('explains itself', function()
    support.explains_itself('reload', { 'url', 'token-file', 'json' })
    support.needs_a_service('reload')
  end)

  it('says what came of it', function()
    local result = reload { true, {} }
    assert.same({ 0, 'reloaded\n', '' }, { result.status, result.out, result.err })
    result = reload { true, { 'nothing has changed' } }
    assert.same({ 0, 'nothing has changed\n' }, { result.status, result.out })
  end)

  it('tells every error, and ends with 1', function()
    local result = reload { false, { 'rules/a.lua:1: no', 'rules/b.lua:2: no' } }
    assert.same({ 1, '', 'rules/a.lua:1: no\nrules/b.lua:2: no\n' },
      { result.status, result.out, result.err })
  end)

  it('is one document with --json', function()
    assert.same({ ok = true, status = 200, message = 'reloaded' },
      support.document(reload({ true, {} }, { '--json' })))
    local result = reload({ false, { 'rules/a.lua:1: no' } }, { '--json' })
    assert.same({ 1, '' }, { result.status, result.err })
    assert.same({ ok = false, status = 500, message = 'rules/a.lua:1: no' },
      support.document(result))
  end)

  it('is for admins', function()
    support.with_service(function(w)
      local result = w.run { 'reload', as = 'anna' }
      assert.same({ 3, '' }, { result.status, result.out })
      assert.matches('anna has the role approver; this needs admin', result.err)
    end)
  end)
end)
