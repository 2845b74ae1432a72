local fake = require 'fakes.prometheus'
local world = require 'e2e.world'

describe('a source', function()
  local w, source
  before_each(function() w, source = world.new(), fake.serve() end)
  after_each(function()
    w:close()
    source.close()
  end)

  it('is asked for each signal, and its series are told apart', function()
    source.values.x = { { labels = { app = 'a' }, value = 1 },
      { labels = { app = 'b' }, value = 9 } }
    local p = w:perigee { source = source.url, rules = { ['x.lua'] = [[
signal "x" { query = "x", every = "1s", detector = threshold { above = 5 } }]] } }
    p:wait_for('b to fire', 10, function()
      local s = p:signal 'x'
      return #s.series == 2 and s.series[2].state == 'firing'
    end)
    assert.equal('inactive', p:signal('x').series[1].state)
  end)
end)
