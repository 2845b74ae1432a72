local json = require 'json'

local function problem(text)
  local value, message = json.decode(text)
  assert.is_nil(value)
  return message
end

local function failure(...)
  local ok, message = pcall(json.encode, ...)
  assert.is_false(ok)
  return message
end

describe('json.decode', function()
  it('reads every kind of value', function()
    assert.same({ a = { 1, 2.5, 'x', true, false }, b = { c = {} } },
      json.decode ' {"a": [1, 2.5, "x", true, false], "b": {"c": {}}} ')
    assert.equal('é😀\n/', json.decode [["\u00e9\ud83d\ude00\n\/"]])
    assert.equal(-1.5e3, json.decode '-1.5E+3')
    assert.equal('', json.decode '""')
  end)

  it('keeps the nulls of objects where it is asked to', function()
    local text = '{"a":null,"b":{"c":null},"d":[null]}'
    assert.equal('{"b":{},"d":[null]}', json.encode(json.decode(text)))
    assert.equal(text, json.encode(json.decode(text, true)))
    assert.equal(json.null, json.decode(text, true).a)
  end)

  it('gives whole numbers as integers as far as a double holds them', function()
    for text, kind in pairs { ['1'] = 'integer', ['1.0'] = 'integer', ['1e3'] = 'integer',
      ['9007199254740992'] = 'integer', ['9007199254740994'] = 'float', ['1e300'] = 'float',
      ['0.1'] = 'float', ['-0'] = 'integer' } do
      assert.equal(kind, math.type(json.decode(text)), text)
    end
  end)

  it('leaves out the nulls of objects and keeps those of arrays', function()
    assert.same({ b = 1 }, json.decode '{"a": null, "b": 1}')
    local list = json.decode '[null, 1, null]'
    assert.equal(3, #list)
    assert.same({ json.null, 1, json.null }, list)
    assert.equal(json.null, json.decode 'null')
  end)

  it('lets the last of two equal keys count', function()
    assert.same({ a = 2 }, json.decode '{"a": 1, "a": 2}')
  end)

  it('says what is wrong, and where', function()
    assert.equal('invalid JSON at line 2, column 6', problem '{\n"a": }')
    for _, text in ipairs { '', '{', '[1,', '{"a" 1}', "{'a': 1}", '[1 2]', '[1] x', 'tru', '"a',
      'undefined' } do
      assert.matches('^invalid JSON at line %d+, column %d+$', problem(text), text)
    end
  end)

  it('refuses what it could not give back as it was', function()
    assert.matches('NUL character', problem [=[["a\u0000b"]]=])
    assert.equal('a\\u0000', json.decode [["a\\u0000"]])
    assert.matches('UTF%-8', problem '["\xff"]')
  end)

  it('reads as deep as it writes, and returns what is wrong with more', function()
    local function nested(n) return ('['):rep(n) .. '1' .. (']'):rep(n) end
    assert.equal(nested(129), json.encode(json.decode(nested(129))))
    assert.equal('JSON is nested deeper than 128', problem(nested(130)))
    assert.equal('JSON is nested deeper than 128', problem(('{"a":'):rep(900) .. '1'
      .. ('}'):rep(900)))
    assert.matches('^invalid JSON', problem(nested(2000)))
  end)

  it('raises for what is no text', function()
    assert.is_false(pcall(json.decode, nil))
    assert.is_false(pcall(json.decode, {}))
  end)
end)

describe('json.encode', function()
  it('writes the canonical form: sorted keys, no blanks, shortest numbers', function()
    assert.equal('{"a":[1,2.5,true],"b":{"c":"x"},"é":null}',
      json.encode { b = { c = 'x' }, a = { 1, 2.5, true }, ['é'] = json.null })
    for text, number in pairs { ['1'] = 1.0, ['0'] = -0.0, ['1e+21'] = 1e21, ['1e-7'] = 1e-7,
      ['0.000001'] = 1e-6, ['100000000000000000000'] = 1e20, ['0.1'] = 0.1,
      ['333333333.3333333'] = 333333333.33333329 } do
      assert.equal(text, json.encode(number))
    end
    assert.equal([["\"\\\b\f\n\r\t\u000f\u0000é€"]], json.encode '"\\\b\f\n\r\t\15\0é€')
  end)

  it('writes a table with a first item as an array, and a marked one even when it is empty',
    function()
      assert.equal('{}', json.encode {})
      assert.equal('[]', json.encode(json.array()))
      assert.equal('[]', json.encode(json.array {}))
      assert.equal('[1]', json.encode(json.array { 1 }))
      assert.equal('{"a":[]}', json.encode(json.decode '{"a": []}'))
    end)

  it('indents where asked to', function()
    assert.equal('{\n  "a": [\n    1,\n    {}\n  ],\n  "b": []\n}',
      json.encode({ a = { 1, {} }, b = json.array() }, 2))
  end)

  it('comes back as it was', function()
    local value = { a = { 1, 2.5, { b = 'x' } }, c = true, d = '\u{10FFFF}\u{7f}' }
    assert.same(value, json.decode(json.encode(value)))
  end)

  it('replaces what is no UTF-8', function()
    assert.equal('"a\u{FFFD}"', json.encode 'a\xff')
  end)

  it('raises for what JSON cannot hold', function()
    assert.matches('JSON has no NaN and no infinity', failure(0 / 0))
    assert.matches('JSON has no NaN and no infinity', failure { -math.huge })
    assert.matches('a function is no JSON', failure { print })
    assert.matches('a thread is no JSON', failure(coroutine.create(print)))
    assert.matches("a JSON object's key is a string, not a boolean", failure { [true] = 1 })
    local circle = {}
    circle.x = circle
    assert.matches('in a circle', failure(circle))
    assert.matches('value expected', failure())
    assert.is_false(pcall(json.array, 5))
  end)
end)
