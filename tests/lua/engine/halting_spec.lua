local halting = require 'engine.halting'

describe('a client for an action that has begun', function()
  local asked, why, client

  before_each(function()
    asked, why = {}, nil
    local own = {}
    for _, name in ipairs { 'get', 'list', 'create', 'update', 'patch', 'delete', 'evict',
      'set_scale', 'event' } do
      own[name] = function(self)
        assert.equal(own, self)
        asked[#asked + 1] = name
        return { done = name }
      end
    end
    client = halting.client(setmetatable(own, { __index = own }), function() return why end)
    own.get = function() return { done = 'get' } end
  end)

  it('writes as long as nothing is in the way', function()
    assert.same({ done = 'patch' }, client:patch('pods', 'shop', 'a', {}, { type = 'merge' }))
    assert.same({ done = 'evict' }, client:evict('shop', 'a', {}))
    assert.same({ 'patch', 'evict' }, asked)
  end)

  it('writes nothing more once something is, and says that nothing went out', function()
    why = 'the kill switch is on'
    for _, name in ipairs { 'create', 'update', 'patch', 'delete', 'evict', 'set_scale' } do
      local done, failure = client[name](client, 'pods', 'shop', 'a', {})
      assert.is_nil(done)
      assert.same({ kind = 'halted', unsent = true, message = 'stopped: the kill switch is on' },
        failure)
    end
    assert.same({}, asked)
  end)

  it('still reads, rehearses and tells', function()
    why = 'a storm'
    assert.same({ done = 'get' }, client:get('pods', 'shop', 'a'))
    assert.same({ done = 'patch' }, client:patch('pods', 'shop', 'a', {}, { dry_run = true }))
    assert.same({ done = 'evict' }, client:evict('shop', 'a', { dry_run = true }))
    assert.same({ done = 'event' }, client:event({}, {}))
  end)
end)
