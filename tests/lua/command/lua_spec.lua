local file = require 'perigee.file'
local support = require 'lua.command.support'

local folder
before_each(function() folder = assert(file.temporary_folder 'perigee-lua') end)
after_each(function() os.execute(("rm -rf '%s'"):format(folder)) end)

--- Runs a script of this text with arguments.
local function script(text, ...)
  assert(file.write(folder .. '/script.lua', text))
  return support.run { 'lua', folder .. '/script.lua', ... }
end

local function code(text, ...) return support.run { 'lua', '-e', text, ... } end

describe('perigee lua', function()
  it('sets arg and ... as lua does', function()
    local text = 'print(arg[0]:match "[^/]+$", #arg, arg[1], arg[2], ...)'
    assert.equal('script.lua\t2\ta\t--help\ta\t--help\n', script(text, 'a', '--help').out)
    assert.equal('script.lua\t0\tnil\tnil\n', script(text).out)
    assert.equal('-e\tx\tx\n', code('print(arg[0], arg[1], ...)', 'x').out)
  end)

  it('ends with the status of os.exit', function()
    assert.equal(0, script('').status)
    assert.equal(0, script('return 5').status)
    for given, status in pairs { ['7'] = 7, ['true'] = 0, ['false'] = 1, [''] = 0, ['0'] = 0 } do
      assert.equal(status, code(('os.exit(%s)'):format(given)).status, given)
    end
    assert.equal(3, code 'require("async").spawn(function() os.exit(3) end):await()'.status)
    assert.equal('out', code 'io.write "out" os.exit(0, true)'.out)
  end)

  it('ends with 1 and a message on an error', function()
    local result = script '\nerror "no good"'
    assert.same({ 1, '' }, { result.status, result.out })
    assert.matches('^perigee: .*/script.lua:2: no good', result.err)
    result = code 'error { code = 5 }'
    assert.equal(1, result.status)
    assert.matches('^perigee: ', result.err)
    result = code 'return ('
    assert.equal(1, result.status)
    assert.matches('^perigee: %(command line%):1: unexpected symbol', result.err)
    result = support.run { 'lua', '/no/such.lua' }
    assert.equal(1, result.status)
    assert.matches('/no/such.lua', result.err, 1, true)
  end)

  it('has the whole standard library, and every module', function()
    local result = code [[
      for _, name in ipairs { 'io', 'os', 'debug', 'coroutine', 'package' } do
        assert(type(_G[name]) == 'table', name)
      end
      for _, name in ipairs { 'http', 'json', 'yaml', 'prometheus', 'alertmanager', 'matrix',
        'statistics', 'calendar', 'units', 'async', 'log', 'template' } do
        assert(type(require(name)) == 'table', name)
      end
      print 'all there'
    ]]
    assert.same({ 0, 'all there\n', '' }, { result.status, result.out, result.err })
  end)

  it('suspends only the task that waits', function()
    local result = code [[
      local async = require 'async'
      local other = async.spawn(function() io.write 'second ' end)
      io.write 'first '
      async.sleep(0.001)
      io.write 'third'
    ]]
    assert.equal('first second third', result.out)
  end)

  it('skips a first line for the shell, and takes no bytecode', function()
    assert.equal('ok\n', script('#!/usr/bin/env perigee\nprint "ok"').out)
    local result = script(string.dump(function() end))
    assert.equal(1, result.status)
    assert.matches('attempt to load a binary chunk', result.err)
  end)

  it('explains itself', function()
    local help = support.run { 'lua', '--help' }
    assert.same({ 0, '' }, { help.status, help.err })
    assert.matches('^Usage: perigee lua SCRIPT', help.out)
    assert.equal(help.out, support.run({ 'lua', '-h' }).out)
    for _, args in ipairs { { 'lua' }, { 'lua', '-e' } } do
      local result = support.run(args)
      assert.same({ 2, '', help.out }, { result.status, result.out, result.err })
    end
  end)
end)
