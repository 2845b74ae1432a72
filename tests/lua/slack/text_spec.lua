local slack_text = require 'slack.text'
local support = require 'lua.engine.support'

describe('text', function()
  it('is cut to what fits, and never within a character or an escape', function()
    assert.equal('ab', slack_text.plain('ab', 2))
    assert.equal('a…', slack_text.plain('abc', 2))
    assert.equal('&lt;…', slack_text.plain('<<<', 8))
    assert.equal('…', slack_text.plain('<<<', 3))
    assert.equal('😀…', slack_text.plain('😀😀😀', 4))
    assert.equal('a\u{FFFD}b', slack_text.plain('a\xffb', 10))
    assert.equal('a b', slack_text.plain('a\nb', 10))
    assert.equal('a\nb', slack_text.plain('a\nb', 10, true))
    local random = support.random(3)
    for _ = 1, 500 do
      local raw, limit = {}, random(40)
      for i = 1, random(60) do raw[i] = ({ '<', 'a', 'ä', '😀', '&', '\xff' })[random(6)] end
      local text = slack_text.plain(table.concat(raw), limit)
      assert.is_true(slack_text.length(text) <= limit)
      assert.is_nil(text:gsub('&%l+;', ''):find '[<>&]')
    end
  end)
end)
