local audit = require 'engine.audit'
local support = require 'lua.command.support'

--- A service with as many records as that.
local function with_trail(n, f)
  support.with_service(function(w)
    for i = 1, n do audit.append(w.engine.store, 'noted', { i = i, text = 'a\27[1m' }) end
    f(w)
  end)
end

describe('perigee audit', function()
  it('explains itself', function()
    support.explains_itself('audit', { 'verify', 'head', 'url', 'token-file', 'json' })
    support.needs_a_service('audit')
    support.needs_a_service('audit', '--verify')
  end)

  it('shows each record on a line, oldest first', function()
    with_trail(2, function(w)
      local result = w.run { 'audit' }
      assert.same({ 0, '' }, { result.status, result.err })
      assert.equal('    1  2023-11-14 22:13:20Z  noted                '
        .. '{"i":1,"text":"a\\u001b[1m"}\n'
        .. '    2  2023-11-14 22:13:20Z  noted                {"i":2,"text":"a\\u001b[1m"}\n',
        result.out)
    end)
  end)

  it('is all records with --json, however many', function()
    with_trail(1001, function(w)
      local records = support.document(w.run { 'audit', '--json' })
      assert.equal(1001, #records)
      assert.same({ 1001, 1001, 'noted' },
        { records[1001].sequence, records[1001].i, records[1001].kind })
      assert.equal(audit.head(w.engine.store), records[1001].hash)
      assert.equal(records[1000].hash, records[1001].prev_hash)
    end)
    with_trail(0, function(w) assert.equal('[]\n', w.run({ 'audit', '--json' }).out) end)
  end)

  it('proves that the trail is whole, to a head noted elsewhere', function()
    with_trail(3, function(w)
      local head = audit.head(w.engine.store)
      local result = w.run { 'audit', '--verify' }
      assert.same({ 0, ('the trail is whole: 3 records, head %s\n'):format(head), '' },
        { result.status, result.out, result.err })
      audit.append(w.engine.store, 'noted', {})
      assert.equal(0, w.run({ 'audit', '--verify', '--head', head }).status)
      assert.same({ ok = true, records = 4, head = audit.head(w.engine.store) },
        support.document(w.run { 'audit', '--verify', '--json' }))
    end)
    with_trail(0, function(w)
      local result = w.run { 'audit', '--verify' }
      assert.same({ 0, ('the trail is whole: 0 records, head %s\n'):format(('0'):rep(64)) },
        { result.status, result.out })
    end)
  end)

  it('finds an edit, a deletion, and what was cut off', function()
    for change, words in pairs {
      ["update audit set record = replace(record, '\"i\":2', '\"i\":9') where sequence = 2"] = '2',
      ['delete from audit where sequence = 2'] = '3',
    } do
      with_trail(3, function(w)
        w.engine.store:exec(change)
        local result = w.run { 'audit', '--verify' }
        assert.same({ 1, '' }, { result.status, result.out })
        assert.matches('^perigee: .*' .. words, result.err)
        local document = w.run { 'audit', '--verify', '--json' }
        assert.equal(1, document.status)
        assert.is_false(support.document(document).ok)
        assert.matches(words, support.document(document).message)
      end)
    end
    with_trail(3, function(w)
      local head = audit.head(w.engine.store)
      w.engine.store:exec 'delete from audit where sequence = 3'
      assert.equal(0, w.run({ 'audit', '--verify' }).status)
      local result = w.run { 'audit', '--verify', '--head', head }
      assert.equal(1, result.status)
      assert.matches(head, result.err)
    end)
  end)

  it('takes a head only to verify it', function()
    local result = support.run { 'audit', '--head', 'x' }
    assert.same({ 2, '', 'perigee: --head goes with --verify\n' },
      { result.status, result.out, result.err })
  end)
end)
