local file = require 'perigee.file'
local support = require 'lua.command.support'

local folder
before_each(function() folder = assert(file.temporary_folder 'perigee-run') end)
after_each(function() os.execute(("rm -rf '%s'"):format(folder)) end)

--- What `perigee run` says of a configuration that it cannot serve by.
local function run(text)
  assert(file.write(folder .. '/perigee.yaml', text))
  return support.run { cwd = folder, 'run' }
end

describe('perigee run', function()
  it('explains itself', function() support.explains_itself('run', { 'config' }) end)

  it('does not start with a configuration that is wrong, and tells all of it', function()
    local result = run 'lisen: 1\n'
    assert.same({ 2, '' }, { result.status, result.out })
    assert.matches('perigee.yaml:1:1: option "source" is missing\n', result.err, 1, true)
    assert.matches('perigee.yaml:1:1: unknown key "lisen"; did you mean "listen"?\n', result.err,
      1, true)
    result = support.run { cwd = folder, 'run', '-c', 'none.yaml' }
    assert.equal(2, result.status)
    assert.matches('none.yaml', result.err, 1, true)
  end)

  it('does not start with rules that are wrong', function()
    assert(file.write(folder .. '/a.lua', 'signal "a" {}'))
    local result = run 'source: { prometheus: { url: "http://a" } }\nrules: [ a.lua ]\n'
    assert.equal(2, result.status)
    assert.matches('a.lua:1:1: signal "a": option "query" is missing\n', result.err, 1, true)
  end)

  it('takes no arguments', function()
    assert.equal(2, support.run({ 'run', 'perigee.yaml' }).status)
  end)
end)
