local check = require 'check'

--- What a rule says of a value: the words, or nil and the value to use.
local function try(rule, value)
  local message, better = rule.test(value)
  return message, better
end

--- The words of everything that is wrong with the options.
local function problems(options, spec)
  local out = {}
  for i, p in ipairs(select(2, check.apply(options, spec))) do out[i] = check.words(p) end
  return out
end

local function failure(f, ...)
  local ok, message = pcall(f, ...)
  assert.is_false(ok)
  return message
end

describe('check.expected', function()
  it('shows short values and names the type of others', function()
    assert.equal('expected a list, not 5', check.expected('a list', 5))
    assert.equal('expected a list, not true', check.expected('a list', true))
    assert.equal('expected a list, not "x"', check.expected('a list', 'x'))
    assert.equal('expected a text, not a table', check.expected('a text', {}))
    assert.equal('expected a text, not a function', check.expected('a text', print))
    assert.equal('expected a text, not a function',
      check.expected('a text', { kind = 'function', id = 1 }))
    assert.equal('expected a text', check.expected('a text', nil))
  end)

  it('cuts what is long, between two characters', function()
    assert.equal(('expected a list, not "%s…"'):format(('x'):rep(57)),
      check.expected('a list', ('x'):rep(61)))
    assert.equal(('expected a list, not "%s"'):format(('x'):rep(60)),
      check.expected('a list', ('x'):rep(60)))
    local cut = check.expected('a list', ('é'):rep(40))
    assert.is_truthy(utf8.len(cut), cut)
    assert.is_truthy(utf8.len(check.expected('a list', 'x' .. ('é'):rep(40))))
  end)

  it('stays in one line, whatever the value', function()
    assert.equal('expected a list, not "a b c"', check.expected('a list', 'a\nb\r\n\27c'))
    assert.equal('unknown option "a b"; known are c', check.unknown('option', 'a\nb', { 'c' }))
  end)
end)

describe('check.string', function()
  it('wants a text with something in it', function()
    assert.is_nil(try(check.string(), 'x'))
    assert.equal('expected a text, not 5', try(check.string(), 5))
    assert.equal('expected a text that is not empty', try(check.string(), ''))
  end)
end)

describe('check.boolean', function()
  it('takes true and false, and no words for them', function()
    assert.is_nil(try(check.boolean(), false))
    assert.equal('expected true or false, not "yes"', try(check.boolean(), 'yes'))
    assert.equal('expected true or false, not 1', try(check.boolean(), 1))
  end)
end)

describe('check.number', function()
  it('holds its limits', function()
    local r = check.number(nil, { min = 1, max = 10 })
    assert.is_nil(try(r, 1))
    assert.is_nil(try(r, 10))
    assert.equal('expected a number of at least 1 and at most 10, not 0', try(r, 0))
    assert.equal('expected a number of at least 1 and at most 10, not 11', try(r, 11))
    assert.equal('expected a number of at least 1 and at most 10, not "5"', try(r, '5'))
    assert.equal('expected a number of at most 3, not 4', try(check.number(nil, { max = 3 }), 4))
    assert.equal('expected a number above 0, not 0', try(check.number(nil, { above = 0 }), 0))
    assert.equal('expected a number above 0 and at most 1, not 2',
      try(check.number(nil, { above = 0, max = 1 }), 2))
  end)

  it('tells whole numbers from others', function()
    local r = check.number(nil, { integer = true, min = 0 })
    assert.is_nil(try(r, 3))
    assert.is_nil(try(r, 3.0))
    assert.equal('expected a whole number of at least 0, not 3.5', try(r, 3.5))
    assert.equal('expected a whole number of at least 0, not -1', try(r, -1))
  end)

  it('takes neither NaN nor an infinity', function()
    assert.matches('^expected a number, not %-?nan$', try(check.number(), 0 / 0))
    assert.equal('expected a number, not inf', try(check.number(), math.huge))
    assert.equal('expected a number, not -inf', try(check.number(), -math.huge))
  end)
end)

describe('check.duration', function()
  it('becomes seconds, its default too', function()
    assert.equal(30, check.duration('30s').default)
    assert.is_nil(check.duration().default)
    assert.same({ nil, 300 }, { try(check.duration(), '5m') })
  end)

  it('says what is wrong', function()
    assert.matches('^expected a duration such as "30s"', try(check.duration(), 30))
    assert.equal('expected at least 1s, not "0"', try(check.duration(nil, { min = 1 }), '0'))
    assert.equal('expected at least 1m30s, not "1m"', try(check.duration(nil, { min = 90 }), '1m'))
  end)
end)

describe('check.bytes', function()
  it('becomes bytes, its default too', function()
    assert.equal(65536, check.bytes('64Ki').default)
    assert.is_nil(check.bytes().default)
    assert.same({ nil, 2000 }, { try(check.bytes(), '2k') })
    assert.matches('^expected a size such as', try(check.bytes(), '64KB'))
  end)
end)

describe('check.one_of', function()
  it('names what may be there, and the nearest', function()
    local r = check.one_of('b', { 'both', 'above', 'below' })
    assert.equal('b', r.default)
    assert.is_nil(try(r, 'above'))
    assert.equal('expected one of both, above, below, not "abve"; did you mean "above"?',
      try(r, 'abve'))
    assert.equal('expected one of both, above, below, not 5', try(r, 5))
    assert.equal('expected one of both, above, below, not "sideways"', try(r, 'sideways'))
    assert.equal('expected one of GET, POST, not "post"; did you mean "POST"?',
      try(check.one_of(nil, { 'GET', 'POST' }), 'post'))
  end)
end)

describe('check.any', function()
  it('takes anything', function()
    assert.is_nil(try(check.any(), print))
    assert.equal(7, check.any(7).default)
  end)
end)

describe('check.list_of', function()
  local r = check.list_of(check.duration(), {})

  it('gives the items as their rule makes them', function()
    assert.same({ nil, { 1, 60 } }, { try(r, { '1s', '1m' }) })
    assert.same({ nil, { 'x' } }, { try(check.list_of(check.string()), { 'x' }) })
    assert.same({}, r.default)
  end)

  it('wants a list: no names, no holes, no function', function()
    assert.equal('expected a list, not "5m"', try(r, '5m'))
    assert.equal('expected a list, not a table', try(r, { a = '5m' }))
    assert.equal('expected a list, not a table', try(r, { '1s', nil, '1m' }))
    assert.equal('expected a list, not a function', try(r, { kind = 'function', id = 1 }))
  end)

  it('tells of each item, by its place', function()
    local spec = { l = r, m = check.list_of(check.list_of(check.number())),
      t = check.list_of(check.table_of { n = check.number() }) }
    assert.same({ 'l[2]: expected a duration such as "30s", "5m" or "1h30m", not a number' },
      problems({ l = { '1s', 2 } }, spec))
    assert.same({ 'm[2][1]: expected a number, not "x"' }, problems({ m = { {}, { 'x' } } }, spec))
    assert.same({ 't[1].n: expected a number, not "x"' }, problems({ t = { { n = 'x' } } }, spec))
  end)
end)

describe('check.map_of', function()
  local r = check.map_of(check.duration(), '^%l+$', {})

  it('gives the values as their rule makes them', function()
    assert.same({ nil, { a = 1 } }, { try(r, { a = '1s' }) })
    assert.same({ nil, { a = 'x' } }, { try(check.map_of(check.string()), { a = 'x' }) })
  end)

  it('wants names', function()
    local words = 'expected a table of names and values, not '
    assert.equal(words .. '5', try(r, 5))
    assert.equal(words .. 'a table', try(r, { '1s' }))
    assert.equal(words .. 'a function', try(r, { kind = 'function', id = 1 }))
  end)

  it('tells of each name, sorted', function()
    local spec = { m = r, t = check.map_of(check.table_of { n = check.number() }) }
    assert.same({ 'm.B: "B" is not a valid name here',
      'm.a: expected a duration such as "30s", "5m" or "1h30m", not "x"' },
      problems({ m = { a = 'x', B = '1s', c = '1s' } }, spec))
    assert.same({ 't.x.n: expected a number, not "y"' },
      problems({ t = { x = { n = 'y' } } }, spec))
  end)
end)

describe('check.table_of', function()
  local spec = { tls = check.table_of { ca = check.string(), n = check.number(3) } }

  it('has fields of its own, with defaults', function()
    assert.same({ tls = { ca = 'x', n = 3 } }, (check.apply({ tls = { ca = 'x' } }, spec)))
    assert.same({}, (check.apply({}, spec)))
  end)

  it('tells of each field', function()
    assert.same({ 'tls: expected a table, not true' }, problems({ tls = true }, spec))
    assert.same({ 'tls: expected a table, not a function' },
      problems({ tls = { kind = 'function', id = 1 } }, spec))
    assert.same({ 'unknown option "cb"; did you mean "ca"?', 'tls.n: expected a number, not "x"' },
      problems({ tls = { cb = 1, n = 'x' } }, spec))
  end)
end)

describe('check.nearest', function()
  local known = { 'threshold', 'direction', 'history', 'step', 'min_samples', 'os' }

  it('finds misspelt names: a letter too many, too few, another, two swapped', function()
    for name, wanted in pairs { treshold = 'threshold', thresholdd = 'threshold',
      direktion = 'direction', hsitory = 'history', setp = 'step', minsamples = 'min_samples',
      ['min-samples'] = 'min_samples', Threshold = 'threshold', HISTORY = 'history',
      stp = 'step' } do
      assert.equal(wanted, check.nearest(name, known))
    end
  end)

  it('finds none where none is near', function()
    for _, name in ipairs { 'colour', 'x', 'io', '_G', '', 'thr', ('threshold'):rep(100) } do
      assert.is_nil(check.nearest(name, known), name)
    end
    assert.is_nil(check.nearest('x', {}))
  end)

  it('takes the nearest of several', function()
    assert.equal('below', check.nearest('belov', { 'above', 'below', 'both' }))
  end)

  it('is as far as the definition says', function() -- against all ways to edit, one after another
    local function slow(a, b)
      if a == '' or b == '' then return #a + #b end
      local same = a:sub(-1) == b:sub(-1)
      local d = math.min(slow(a:sub(1, -2), b) + 1, slow(a, b:sub(1, -2)) + 1,
        slow(a:sub(1, -2), b:sub(1, -2)) + (same and 0 or 1))
      if #a > 1 and #b > 1 and a:sub(-1) == b:sub(-2, -2) and a:sub(-2, -2) == b:sub(-1) then
        d = math.min(d, slow(a:sub(1, -3), b:sub(1, -3)) + 1)
      end
      return d
    end
    local seed = 3
    local function word()
      local letters = {}
      for i = 1, 4 do
        seed = (seed * 1103515245 + 12345) % 2147483648
        letters[i] = ('abc'):sub(1 + seed // 65536 % 3, 1 + seed // 65536 % 3)
      end
      return table.concat(letters)
    end
    for _ = 1, 300 do
      local a, b = word(), word()
      assert.equal(slow(a, b) <= 2, check.nearest(a, { b }) ~= nil, a .. ' ' .. b)
    end
  end)
end)

describe('check.unknown', function()
  it('names the nearest, or all where they are few', function()
    assert.equal('unknown option "abve"; did you mean "above"?',
      check.unknown('option', 'abve', { 'above', 'below' }))
    assert.equal('unknown option "x"; known are above, below',
      check.unknown('option', 'x', { 'above', 'below' }))
    local many = {}
    for i = 1, 13 do many[i] = ('name_%d'):format(i) end
    assert.equal('unknown option "x"', check.unknown('option', 'x', many))
    assert.equal('unknown option "1"; known are above', check.unknown('option', 1, { 'above' }))
  end)
end)

describe('check.apply', function()
  local spec = { query = check.required(check.string()), every = check.duration '30s',
    on = check.boolean(true) }

  it('fills in defaults and keeps what is there', function()
    assert.same({ query = 'up', every = 30, on = false },
      (check.apply({ query = 'up', on = false }, spec)))
  end)

  it('collects everything, ordered by field', function()
    assert.same({ 'option "query" is missing',
      'every: expected a duration such as "30s", "5m" or "1h30m", not a number',
      'unknown option "onn"; did you mean "on"?' }, problems({ every = 5, onn = true }, spec))
  end)

  it('copes with keys of any type', function()
    local found = problems({ [true] = 1, [2] = 2, [0.5] = 3 }, spec)
    assert.equal(4, #found)
    assert.same({ 'option "query" is missing', 'unknown option "0.5"; known are every, on, query',
      'unknown option "2"; known are every, on, query',
      'unknown option "true"; known are every, on, query' }, found)
  end)

  it('orders problems of one field by their words', function()
    local two = { test = function()
      return 'invalid', nil, { { path = {}, message = 'b' }, { path = {}, message = 'a' } }
    end }
    assert.same({ 'x: a', 'x: b' }, problems({ x = 1 }, { x = two }))
  end)

  it('hands on where inside a text something is wrong', function()
    local at = { line = 1, column = 2 }
    local inner = { test = function()
      return 'invalid', nil, { { path = {}, message = 'm', at = at } }
    end }
    for value, rule in pairs { [1] = inner, [{ f = 1 }] = check.table_of { f = inner },
      [{ g = 1 }] = check.map_of(inner), [{ 1 }] = check.list_of(inner) } do
      local _, found = check.apply({ x = value }, { x = rule })
      assert.equal(at, found[1].at)
    end
  end)
end)

describe('check.options', function()
  local spec = { above = check.number(5) }
  local function limit(options) local o = check.options('limit', options, spec) return o end

  it('gives the options with their defaults', function()
    assert.same({ above = 5 }, limit())
    assert.same({ above = 5 }, limit {})
    assert.same({ above = 7 }, limit { above = 7 })
  end)

  it('blames the line that called, and says what was expected', function()
    local rule = load('local limit = ...\nlimit { abov = 4 }', '@rules/checkout.lua')
    assert.equal('rules/checkout.lua:2: limit: unknown option "abov"; did you mean "above"?',
      failure(rule, limit))
    rule = load('local limit = ...\n\nlimit(5)', '@rules/checkout.lua')
    assert.equal('rules/checkout.lua:3: limit: expected a table of options, not 5',
      failure(rule, limit))
    assert.matches('limit: expected a table of options, not false$', failure(limit, false))
    assert.matches('limit: above: expected a number, not "x"$', failure(limit, { above = 'x' }))
  end)
end)
