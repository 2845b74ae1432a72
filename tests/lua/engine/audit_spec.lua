local audit = require 'engine.audit'
local hash = require 'perigee.hash'
local json = require 'perigee.json'
local store = require 'perigee.store'
local support = require 'lua.engine.support'

support.still()

--- A trail of n records of different kinds.
local function trail(n)
  local db = assert(store.open ':memory:')
  for i = 1, n do
    audit.append(db, 'plan_created', { plan = 'plan-' .. i, share = i / 7,
      reason = 'é "quoted"\n',
      actions = json.array { { name = 'verify', args = { below = 0.01 } } } })
  end
  return db
end

--- As `perigee audit --verify` goes: page by page, what the API has sent as JSON.
local function verify(db, head, page)
  local verifier, after = audit.verifier(), 0
  page = page or 1000
  repeat
    local records = json.decode(json.encode(audit.list(db, after, page)))
    for _, record in ipairs(records) do
      local ok, message = verifier:add(record)
      if not ok then return false, message end
      after = record.sequence
    end
  until #records < page
  return verifier:finish(head)
end

local function set(db, sequence, column, value)
  db:exec(('update audit set %s = ? where sequence = ?'):format(column), value, sequence)
end

local function row(db, sequence)
  return db:row('select * from audit where sequence = ?', sequence)
end

describe('the audit trail', function()
  it('begins at 64 zeros, and each record names the one before', function()
    local db = trail(0)
    assert.same({ ('0'):rep(64), 0 }, { audit.head(db) })
    local first = audit.append(db, 'a', {})
    local second = audit.append(db, 'b', { x = 1 })
    local records = audit.list(db, 0, 10)
    assert.same({ ('0'):rep(64), first }, { records[1].prev_hash, records[2].prev_hash })
    assert.same({ first, second }, { records[1].hash, records[2].hash })
    assert.same({ second, 2 }, { audit.head(db) })
  end)

  it('has the hash that API.md defines', function()
    local db = trail(0)
    local head = audit.append(db, 'decision', { who = 'alice', n = 1.5 })
    local text = '{"at":"2023-11-14T22:13:20.000Z","kind":"decision","n":1.5,"prev_hash":"'
      .. ('0'):rep(64) .. '","sequence":1,"who":"alice"}'
    assert.equal(hash.sha256(('0'):rep(64) .. text), head)
  end)

  it('is proved whole, in pages of any size, up to a head that was noted on the way', function()
    local db = trail(20)
    local noted = audit.head(db)
    for _ = 1, 5 do audit.append(db, 'later', { empty = json.array(), none = {} }) end
    for _, page in ipairs { 1, 7, 25, 1000 } do
      assert.is_true(verify(db, noted, page))
      assert.is_true(verify(db, (audit.head(db)), page))
    end
    assert.is_true(verify(trail(0), audit.GENESIS))
  end)

  it('is there with what it tells of, or not at all', function()
    local db = trail(3)
    pcall(db.transaction, db, function()
      audit.append(db, 'never', {})
      error 'the rest fails'
    end)
    assert.equal(3, select(2, audit.head(db)))
    assert.is_true(verify(db))
  end)
end)

describe('an edit of the trail', function()
  it('of any single byte of any record is found', function()
    local db = trail(4)
    local head, tried = audit.head(db), 0
    for sequence = 1, 4 do
      local whole = row(db, sequence).record
      for at = 1, #whole do
        local byte = whole:byte(at)
        local before, behind = whole:sub(1, at - 1), whole:sub(at + 1)
        for _, edited in ipairs { before .. string.char(byte ~ 1) .. behind, before .. behind,
          before .. string.char(byte ~ 128) .. behind, before .. ' ' .. whole:sub(at) } do
          tried = tried + 1
          set(db, sequence, 'record', edited)
          if verify(db, head) then error(('not found: byte %d of %s'):format(at, edited)) end
        end
      end
      set(db, sequence, 'record', whole)
    end
    assert.is_true(tried > 2000, tried)
    assert.is_true(verify(db, head))
  end)

  it('of any single byte of any hash is found', function()
    local db = trail(4)
    local head = audit.head(db)
    for sequence = 1, 4 do
      local whole = row(db, sequence).hash
      for at = 1, #whole do
        local other = whole:sub(at, at) == '0' and '1' or '0'
        set(db, sequence, 'hash', whole:sub(1, at - 1) .. other .. whole:sub(at + 1))
        assert.is_false(verify(db, head))
      end
      set(db, sequence, 'hash', whole)
    end
  end)

  it('that makes a record unreadable is found, and told of as that', function()
    for _, text in ipairs { '', '{', 'null', '7', '"text"', '[]', '{} {}',
      '{"a":1e999}', '"\xff"' } do
      local db = trail(3)
      set(db, 2, 'record', text)
      local ok, message = verify(db)
      assert.is_false(ok)
      assert.matches('record 2', message, 1, true)
    end
  end)

  it('that takes one record out is found, the last one by the noted head', function()
    for sequence = 1, 5 do
      local db = trail(5)
      local head = audit.head(db)
      db:exec('delete from audit where sequence = ?', sequence)
      assert.is_false(verify(db, head))
      assert.equal(sequence == 5, verify(db))
    end
  end)

  it('that cuts the end off is found by the noted head', function()
    for kept = 0, 4 do
      local db = trail(5)
      local head = audit.head(db)
      db:exec('delete from audit where sequence > ?', kept)
      local ok, message = verify(db, head)
      assert.is_false(ok)
      assert.matches('is not in the trail', message, 1, true)
    end
  end)

  it('that puts one in is found, wherever, also with a hash that fits', function()
    for after = 0, 4 do
      local db = trail(5)
      local head = audit.head(db)
      db:exec('update audit set sequence = -sequence - 1 where sequence > ?', after)
      db:exec 'update audit set sequence = -sequence where sequence < 0'
      local previous = after > 0 and row(db, after).hash or audit.GENESIS
      local text = json.encode { sequence = after + 1, at = '2023-11-14T22:13:20.000Z',
        kind = 'forged', prev_hash = previous }
      db:exec('insert into audit (sequence, record, hash) values (?, ?, ?)', after + 1, text,
        hash.sha256(previous .. text))
      assert.is_false(verify(db, head))
    end
  end)

  it('that swaps any two is found', function()
    for a = 1, 4 do
      for b = a + 1, 5 do
        local db = trail(5)
        local head = audit.head(db)
        local x, y = row(db, a), row(db, b)
        set(db, a, 'record', y.record)
        set(db, a, 'hash', y.hash)
        set(db, b, 'record', x.record)
        set(db, b, 'hash', x.hash)
        assert.is_false(verify(db, head))
      end
    end
  end)

  it('by somebody who links everything anew is found by the noted head', function()
    local db = trail(5)
    local noted, previous = audit.head(db), audit.GENESIS
    for sequence = 1, 5 do
      local record = json.decode(row(db, sequence).record)
      if sequence == 3 then record.plan = 'plan-of-mine' end
      record.prev_hash = previous
      local text = json.encode(record)
      previous = hash.sha256(previous .. text)
      set(db, sequence, 'record', text)
      set(db, sequence, 'hash', previous)
    end
    assert.is_true(verify(db))
    assert.is_false(verify(db, noted))
  end)
end)
