local selector = require 'actions.kubernetes.selector'

local BOTH = { matchLabels = { app = 'shop', tier = 'web' }, matchExpressions = {
  { key = 'env', operator = 'In', values = { 'prod', 'stage' } },
  { key = 'env', operator = 'NotIn', values = { 'test' } },
  { key = 'team', operator = 'Exists' }, { key = 'old', operator = 'DoesNotExist' } } }

describe('a label selector', function()
  it('is a text that a list takes', function()
    assert.equal('app=shop,tier=web,env in (prod,stage),env notin (test),team,!old',
      selector.text(BOTH))
    assert.is_nil(selector.text {})
    assert.is_nil(selector.text(nil))
  end)

  it('tells which labels it selects', function()
    local labels = { app = 'shop', tier = 'web', env = 'prod', team = 'x', more = 'y' }
    assert.is_true(selector.matches(BOTH, labels))
    for name, value in pairs { app = 'other', env = 'test', old = 'yes' } do
      local was = labels[name]
      labels[name] = value
      assert.is_false(selector.matches(BOTH, labels), name)
      labels[name] = was
    end
    labels.team = nil
    assert.is_false(selector.matches(BOTH, labels))
  end)

  it('selects all where it is empty, and none where there is none', function()
    assert.is_true(selector.matches({}, { app = 'shop' }))
    assert.is_true(selector.matches({}, nil))
    assert.is_false(selector.matches(nil, { app = 'shop' }))
  end)
end)
