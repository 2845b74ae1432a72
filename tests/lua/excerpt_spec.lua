local excerpt = require 'excerpt'

describe('an excerpt', function()
  it('is the whole of a text that is short enough', function()
    assert.equal('täglich', excerpt.head('täglich', 8))
    assert.equal('', excerpt.head('', 0))
  end)

  it('cuts no character through', function()
    assert.equal('t', excerpt.head('täglich', 2))
    assert.equal('tä', excerpt.head('täglich', 3))
    assert.equal('a', excerpt.head('a\u{1F600}b', 4))
  end)

  it('of bytes that are no UTF-8 is not much shorter', function()
    assert.equal(16, #excerpt.head(('\x80'):rep(30), 20))
  end)

  it('in one line has no control characters', function()
    assert.equal('one two', excerpt.line('one\r\n\27two', 10))
    assert.equal('nil', excerpt.line(nil, 10))
  end)
end)
