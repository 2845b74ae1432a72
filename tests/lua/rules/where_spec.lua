local where = require 'rules.where'

--- The text that begins at the place of a field, up to a blank, comma or line's end.
local function at(source, path, line)
  local place = where.field(source, line or 1, path)
  local n = 0
  for text in (source .. '\n'):gmatch '(.-)\n' do
    n = n + 1
    if n == place.line then return text:sub(place.column):match '^[^%s,]*', place end
  end
end

local SOURCE = [==[
-- signal "a" { query = "no" }
signal "a" { -- { query =
  query = [[sum({
    x = "1"}) ]], every = "5s";
  ["hold_for"] = "2m", --[[ labels = ]]
  detector = combine { any = {
    threshold { above = 5 }, function(v) local query = { labels = 1 } if v then return end end,
    -1, 'a}"', z_score { history = "7d" },
  } },
  labels = { a = "it's {", ["b-c"] = 'x' }
}
signal "b" { query = "second" }
]==]

describe('the place of a field', function()
  for _, case in ipairs {
    { { 'query' }, 'query' }, { { 'every' }, 'every' }, { { 'hold_for' }, '["hold_for"]' },
    { { 'detector' }, 'detector' }, { { 'detector', 'any' }, 'any' },
    { { 'detector', 'any', 1 }, 'threshold' }, { { 'detector', 'any', 1, 'above' }, 'above' },
    { { 'detector', 'any', 2 }, 'function(v)' }, { { 'detector', 'any', 3 }, '1' },
    { { 'detector', 'any', 4 }, [['a}"']] }, { { 'detector', 'any', 5 }, 'z_score' },
    { { 'detector', 'any', 5, 'history' }, 'history' }, { { 'labels', 'a' }, 'a' },
    { { 'labels', 'b-c' }, '["b-c"]' },
    { { 'detector', 'any', 6 }, 'any' }, -- what is not there: the nearest above it
    { { 'detector', 'any', 1, 'below' }, 'threshold' }, { { 'nothing' }, 'signal' },
    { {}, 'signal' },
  } do
    it('is found: ' .. table.concat(case[1], '.'), function()
      assert.equal(case[2], (at(SOURCE, case[1], 2)))
    end)
  end

  it('is looked for in the declaration of that line', function()
    local _, place = at(SOURCE, { 'query' }, 12)
    assert.same({ 12, 'second' }, { place.line, place.text })
  end)

  it('is the declaration where its table is not written out there', function()
    for _, source in ipairs { 'declare("a")', 'signal "a" (body)', '', 'signal "a" {', 'x = [[',
      'signal "a" { query = "', 'signal "a" { f = function() if' } do
      local place = where.field(source, 1, { 'every' })
      assert.same({ 1, 1 }, { place.line, place.column })
    end
    assert.same({ 9, 1 }, { where.field('x', 9, {}).line, where.field('x', 9, {}).column })
  end)

  it('counts an item by its position, whatever names stand between', function()
    local source = 'f { a = 1, "one", b = 2, "two" }'
    assert.equal('"one"', (at(source, { 1 })))
    assert.equal('"two"', (at(source, { 2 })))
    assert.equal('a', (at(source, { 'a' })))
  end)
end)

describe('the place inside a text', function()
  local function inside(source, path, line, column)
    return { where.inside(where.field(source, 1, path), line, column) }
  end

  it('follows the quotes on the first line, and the file\'s own columns below', function()
    assert.same({ 1, 12 }, inside('f { q = "ab.d" }', { 'q' }, 1, 3))
    assert.same({ 1, 13 }, inside('f { q = [[ab.d]] }', { 'q' }, 1, 3))
    assert.same({ 1, 14 }, inside('f { q = [=[ab]]]=] }', { 'q' }, 1, 3))
    assert.same({ 2, 1 }, inside('f { q = [[\nab]] }', { 'q' }, 1, 1))
    assert.same({ 3, 4 }, inside('f { q = [[x\ny\nz..w]] }', { 'q' }, 3, 4))
  end)

  it('is the field where its text is put together', function()
    assert.same({ 1, 5 }, inside('f { q = prefix .. "ab" }', { 'q' }, 1, 3))
  end)
end)
