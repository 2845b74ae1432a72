local names = require 'engine.gates.names'

describe('a name in the operator\'s lists', function()
  it('is the whole name, and a star any text, also none', function()
    for _, c in ipairs { { 'shop', 'shop', true }, { 'shop', 'sho', false },
      { 'shop', 'shopp', false }, { 'shop', 'my-shop', false }, { 'team-*', 'team-', true },
      { 'team-*', 'team-a-b', true }, { 'team-*', 'team', false }, { '*-prod', 'a-prod', true },
      { '*-prod', 'a-prod-b', false }, { 'a*b*c', 'abc', true }, { 'a*b*c', 'aXbYc', true },
      { 'a*b*c', 'acb', false }, { '*', '', true }, { '', '', true }, { '', 'a', false } } do
      assert.equal(c[3], names.fits(c[2], c[1]), c[1] .. ' ' .. c[2])
    end
  end)

  it('has no other signs with a meaning', function()
    for _, sign in ipairs { '.', '%', '-', '+', '?', '[', ']', '(', ')', '^', '$', '\\', 'ü' } do
      local name = 'a' .. sign .. 'b'
      assert.is_true(names.fits(name, name), sign)
      assert.is_true(names.fits(name, 'a*b'), sign)
      assert.is_false(names.fits('axb', name), sign)
      assert.is_false(names.fits('ab', name), sign)
      assert.is_false(names.fits('aab', name), sign)
    end
  end)

  it('is on no empty list', function()
    assert.is_false(names.listed('shop', {}))
    assert.is_true(names.listed('shop', { 'cart', 'sh*' }))
  end)
end)
