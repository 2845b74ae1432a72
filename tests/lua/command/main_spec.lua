local support = require 'lua.command.support'

local COMMANDS = { 'run', 'check', 'reload', 'status', 'incidents', 'approvals', 'approve',
  'reject', 'why', 'why-not', 'trust', 'storm', 'kill', 'audit', 'detect', 'forecast', 'train',
  'predict', 'risk', 'lua', 'demo', 'version' }

describe('perigee', function()
  it('lists its commands', function()
    for _, args in ipairs { { '--help' }, { '-h' }, { 'help' } } do
      local help = support.run(args)
      assert.same({ 0, '' }, { help.status, help.err })
      local listed = {}
      for name in help.out:gmatch '\n  ([%l-]+) +%l' do listed[#listed + 1] = name end
      assert.same(COMMANDS, listed)
    end
    local none = support.run {}
    assert.same({ 2, '' }, { none.status, none.out })
    assert.equal(support.run({ '--help' }).out, none.err)
  end)

  it('has help for each command', function()
    for _, name in ipairs(COMMANDS) do
      local help = support.run { 'help', name }
      assert.same({ 0, '' }, { help.status, help.err }, name)
      assert.equal(1, help.out:find('Usage: perigee ' .. name, 1, true), help.out)
      assert.equal(help.out, support.run({ name, '--help' }).out)
    end
  end)

  it('names the nearest command for one it does not know', function()
    local unknown = support.run { 'aprove', 'plan-1' }
    assert.same({ 2, '', 'perigee: unknown command "aprove"; did you mean "approve"?\n' },
      { unknown.status, unknown.out, unknown.err })
    assert.equal(2, support.run({ 'help', 'aprove' }).status)
  end)

  it('says its version in each of the usual ways', function()
    local version = support.run { 'version' }
    assert.equal(0, version.status)
    for _, flag in ipairs { '--version', '-V' } do
      assert.equal(version.out, support.run({ flag }).out)
    end
  end)
end)
