local yaml = require 'yaml'

local function read(text)
  local value, places = yaml.decode(text)
  assert(value ~= nil, places.message)
  return value, places
end

--- What is wrong with a text, as "line:column: words".
local function problem(text)
  local value, p = yaml.decode(text)
  assert.is_nil(value)
  return ('%d:%d: %s'):format(p.line, p.column, p.message)
end

describe('yaml.decode', function()
  it('leaves plain texts as they are written, when asked to', function()
    assert.same({ a = '1.10', b = 'true', c = { '0x10', '~' }, e = '' },
      (yaml.decode('a: 1.10\nb: true\nc: [0x10, "~"]\nd: ~\ne: ""\n', true)))
  end)

  it('tells where a second document begins', function()
    local function following(text) return (select(3, yaml.decode(text))) end
    assert.is_nil(following 'a: b\n')
    assert.is_nil(following '---\na: b\n...\n# end\n')
    assert.is_nil(following '')
    assert.same({ 2, 1 }, following 'a: b\n--- {\n')
    assert.is_nil(following 'a: b\n...\n@', 'what cannot be read is no document')
  end)

  it('reads mappings, lists and texts', function()
    assert.same({ a = { b = { 'x', 'y z', { c = 'd' } } }, e = 'f\ng\n', h = 'i j\n' }, (read [[
a:
  b: [x, "y z", {c: d}]
e: |
  f
  g
h: >
  i
  j
]]))
    assert.equal('just a text', (read 'just a text'))
  end)

  it('takes numbers for numbers as the core schema of YAML 1.2 has them', function()
    for text, number in pairs { ['012'] = 12, ['1e3'] = 1000.0, ['.5'] = 0.5, ['+.5'] = 0.5,
      ['-.5'] = -0.5, ['1.'] = 1.0, ['1.5e-3'] = 0.0015, ['+5'] = 5, ['-0'] = 0, ['0o17'] = 15,
      ['0x1F'] = 31, ['1E+2'] = 100.0, ['99999999999999999999'] = 1e20, ['.inf'] = math.huge,
      ['+.Inf'] = math.huge, ['-.INF'] = -math.huge, ['1e400'] = math.huge } do
      local value = read(text)
      assert.equal(number, value, text)
      assert.equal(math.type(number), math.type(value), text)
    end
    for _, text in ipairs { '.nan', '.NaN', '.NAN' } do
      local value = read(text)
      assert.is_true(value ~= value)
    end
  end)

  it('leaves texts what they are: dates, times, words, durations', function()
    for _, text in ipairs { '2026-11-22', '18:00', '1:30', 'yes', 'no', 'on', 'off', 'y', 'tRue',
      '5m', '1_000', '0b11', '0o8', '0xg', '0x', '+0x1', '1e', 'e3', '1.5.', '1-1', '--', '.',
      '..5', '+', '-.nan', '1 2', '2026-11-22T10:00:00Z', '~x', 'nul', 'infinity', 'nan', '0x1p3',
      '0x0123456789abcdef0' } do
      assert.equal(text, (read(text)), text)
    end
  end)

  it('knows true, false and null, by the three ways to write each', function()
    for _, text in ipairs { 'true', 'True', 'TRUE' } do assert.is_true((read(text))) end
    for _, text in ipairs { 'false', 'False', 'FALSE' } do assert.is_false((read(text))) end
    for _, text in ipairs { 'null', 'Null', 'NULL', '~', '' } do
      assert.same({ b = 1 }, (read(('a: %s\nb: 1'):format(text))))
    end
  end)

  it('refuses a list with an item that is empty: what is behind it would be lost', function()
    for _, text in ipairs { '- a\n-\n- b', '- a\n- ~\n', '- a\n- null\n- b' } do
      assert.equal('2', (problem(text):match '^(%d):%d+: an item of a list is empty$'))
    end
  end)

  it('takes what is in quotes for a text', function()
    assert.same({ '012', 'true', 'null', '', '1e3' },
      (read [=[["012", 'true', "null", '', '1e3']]=]))
    assert.same({ 'a\0b' }, (read '["a\\0b"]'))
  end)

  it('has texts for keys, whatever they look like', function()
    assert.same({ ['1'] = 'a', ['true'] = 'b', ['~'] = 'c' }, (read '{1: a, true: b, ~: c}'))
  end)

  it('tells the place of each key and each item', function()
    local value, places = read '# a comment\nrules:\n  - "x"\n  -  {a: 1,\n      b: 2}\n'
    assert.same({ 2, 1 }, places[value].rules)
    assert.same({ 3, 5 }, places[value.rules][1])
    assert.same({ 4, 6 }, places[value.rules][2])
    assert.same({ 4, 7 }, places[value.rules[2]].a)
    assert.same({ 5, 7 }, places[value.rules[2]].b)
  end)

  it('counts columns in characters', function()
    local value, places = read '{é: 1, a: 2}'
    assert.same({ 1, 8 }, places[value].a)
  end)

  it('knows the place of a key without a value', function()
    local value, places = read 'a:\nb: 1'
    assert.same({ b = 1 }, value)
    assert.same({ 1, 1 }, places[value].a)
  end)

  it('counts the first document only, and is nil for none', function()
    assert.equal('a', (read '--- a\n--- b\n'))
    for _, text in ipairs { '', ' \n', '# nothing\n', '---\n' } do
      local value, places = yaml.decode(text)
      assert.is_nil(value)
      assert.same({}, places)
    end
  end)

  it('refuses a key that is there twice, at the second', function()
    assert.equal('3:1: the key "a" is there twice', problem 'a: 1\nb: 2\na: 3')
    assert.equal('1:8: the key "a" is there twice', problem '{a: 1, a: 1}')
    assert.equal('2:1: the key "a" is there twice', problem 'a:\na: 1')
  end)

  it('tells what is wrong, with line and column', function()
    assert.equal('2:1: found character that cannot start any token', problem 'a:\n\t- b')
    assert.equal('2:1: did not find expected node content', problem 'a: [')
    assert.equal('1:5: mapping values are not allowed in this context', problem 'a: b: c')
    assert.equal('1:4: found undefined alias', problem 'a: *x')
    assert.equal('1:6: found unexpected end of stream', problem 'a: "x')
    assert.equal('1:3: a key is a plain word or text', problem '? [x]\n: 1')
    assert.matches('invalid leading UTF%-8 octet$', problem 'a: \xff')
  end)

  it('follows aliases, each to a copy', function()
    local value = read 'a: &x {k: [1]}\nb: *x\nc: [*x]'
    assert.same({ a = { k = { 1 } }, b = { k = { 1 } }, c = { { k = { 1 } } } }, value)
    value.a.k[1] = 2
    assert.same({ 1 }, value.b.k)
  end)

  it('is not blown up by aliases of aliases', function()
    local lines, before = { 'a: &a [x,x,x,x,x,x,x,x,x]' }, 'a'
    for i = 1, 9 do
      local name = ('bcdefghij'):sub(i, i)
      lines[i + 1] = ('%s: &%s [%s]'):format(name, name, ('*' .. before .. ','):rep(9))
      before = name
    end
    assert.matches('^1:%d+: too many values$', problem(table.concat(lines, '\n')))
  end)

  it('refuses what contains itself, and what is nested too deep', function()
    assert.matches('nested too deep$', problem '&a [*a]')
    assert.matches('nested too deep$', problem(('['):rep(70) .. (']'):rep(70)))
    assert.is_truthy(read(('['):rep(60) .. (']'):rep(60)))
  end)

  it('merges with <<: what the mapping has itself counts', function()
    local value, places = read [[
base: &base {a: 1, b: {c: 2}, d: 4}
one:
  <<: *base
  a: 3
  d: null
]]
    assert.same({ a = 3, b = { c = 2 } }, value.one)
    assert.same({ 4, 3 }, places[value.one].a)
    assert.same({ 3, 3 }, places[value.one].b)
    assert.same({ 1, 24 }, places[value.one.b].c)
  end)

  it('merges several: the first of them counts', function()
    assert.same({ a = 1, b = 2, c = 3 },
      (read '{<<: [{a: 1, b: 2}, {a: 9, c: 3}]}'))
  end)

  it('merges nothing but mappings', function()
    local words = '1:1: "<<" takes a mapping, or a list of mappings'
    for _, text in ipairs { '<<: 5', '<<: [5]', '<<: [[{a: 1}]]', '<<: text' } do
      assert.equal(words, problem(text))
    end
  end)

  it('raises for what is no text, and for more than it reads', function()
    assert.is_false(pcall(yaml.decode, nil))
    assert.is_false(pcall(yaml.decode, {}))
    local ok, message = pcall(yaml.decode, (' '):rep((16 << 20) + 1))
    assert.is_false(ok)
    assert.matches('larger than 16 MiB', message)
  end)
end)
