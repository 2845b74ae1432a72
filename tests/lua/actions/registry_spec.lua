local registry = require 'actions.registry'
local vocabulary = require 'rules.vocabulary'

describe('actions.registry', function()
  it('knows the actions that rule files have words for, and no others', function()
    assert.same(vocabulary.actions, registry.names())
    for _, name in ipairs(registry.names()) do
      assert.equal('table', type(registry.get(name)), name)
    end
    assert.is_nil(registry.get 'http')
  end)

  it('has for each that changes something what guards it and what runs it', function()
    local changing = {}
    for _, name in ipairs(registry.names()) do
      local action = registry.get(name)
      if action.changes then
        changing[#changing + 1] = name
        local guard = action.scope and 'scope' or 'allowed'
        for _, part in ipairs { 'target', guard, 'run' } do
          assert.equal('function', type(action[part]), name .. '.' .. part)
        end
      end
    end
    assert.same({ 'alertmanager.silence', 'github.dispatch', 'http.request', 'kubernetes.cordon',
      'kubernetes.patch', 'kubernetes.restart', 'kubernetes.rollback', 'kubernetes.scale',
      'kubernetes.uncordon', 'notify' }, changing)
  end)
end)
