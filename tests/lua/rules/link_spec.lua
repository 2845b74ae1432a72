local clock = require 'perigee.clock'
local support = require 'lua.rules.support'

after_each(support.tidy)

local function signal(name)
  return ('signal "%s" { query = "up", detector = threshold { above = 1 } }\n'):format(name)
end

describe('a name', function()
  it('is declared once in a file', function()
    assert.same({ 'r.lua:2:1: signal "a": is declared already, at r.lua:1',
      'r.lua:3:1: signal "a": is declared already, at r.lua:1' },
      (support.load(signal 'a' .. signal 'a' .. signal 'a')))
  end)

  it('is declared once in all files, required ones included', function()
    assert.same({ 'b.lua:1:1: signal "a": is declared already, at a.lua:2',
      'lib.lua:1:1: signal "c": is declared already, at lib.lua:1' },
      (support.load { ['a.lua'] = '\n' .. signal 'a' .. 'require "lib"',
        ['b.lua'] = signal 'a' .. 'require "lib"', ['lib.lua'] = signal 'c' }))
  end)

  it('may be that of a signal, an incident and a playbook', function()
    assert.same({}, (support.load(signal 'a' .. [[
      incident "a" { signals = { "a" }, min_signals = 1 }
      playbook "a" { when = incident "a" }
    ]])))
  end)
end)

describe('a reference', function()
  it('may lead to another file, before or behind', function()
    assert.same({}, (support.load { ['a.lua'] = 'playbook "p" { when = incident "i" }',
      ['b.lua'] = 'incident "i" { signals = { "a" }, min_signals = 1 }', ['c.lua'] = signal 'a' }))
  end)

  it('that leads nowhere is told with the nearest name', function()
    assert.same({
      'r.lua:2:29: incident "i": signals[1]: there is no signal "latncy"; did you mean "latency"?',
      'r.lua:2:39: incident "i": signals[2]: there is no signal "zebra"',
      'r.lua:3:17: playbook "p": when: there is no incident "j"; did you mean "i"?' },
      (support.load(signal 'latency' .. [[
incident "i" { signals = {  "latncy", "zebra" } }
playbook "p" {  when = incident "j" }]])))
  end)

  it('to what a file that is broken may declare is no error of its own', function()
    assert.same({ "a.lua:2: syntax error near <eof>" }, (support.load {
      ['a.lua'] = signal 'a' .. 'broken',
      ['b.lua'] = 'incident "i" { signals = { "a" }, min_signals = 1 }' }))
  end)

  it('to a declaration that has errors of its own is none', function()
    assert.same({ 'r.lua:1:1: signal "a": option "query" is missing' }, (support.load([[
signal "a" { detector = threshold { above = 1 } }
incident "i" { signals = { "a" }, min_signals = 1 }
playbook "p" { when = incident "i", trust = "auto", plan = function() error "not tried" end }]])))
  end)

  it('is told in time, however many lead nowhere', function()
    local before = clock.cpu()
    local problems = support.load [[
      for i = 1, 500 do
        signal ('checkout_latency_of_service_' .. i) { query = 'up',
          detector = threshold { above = 1 } }
        incident ('i' .. i) { min_signals = 1, signals = { 'checkout_latency_at_servcie_' .. i } }
      end]]
    assert.equal(500, #problems)
    assert.matches('did you mean "checkout_latency_of_service_', problems[1], 1, true)
    assert.is_true(clock.cpu() - before < 10)
  end)
end)
