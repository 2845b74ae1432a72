local support = require 'lua.command.support'

describe('perigee version', function()
  it('explains itself', function() support.explains_itself('version', { 'json' }) end)

  it('prints name and version, and those of the libraries', function()
    local result = support.run { 'version' }
    assert.same({ 0, '' }, { result.status, result.err })
    assert.matches('^perigee %d+%.%d+%.%d+\n', result.out)
    for _, name in ipairs { 'Lua', 'libuv', 'libcurl', 'SQLite', 'libmicrohttpd', 'cJSON',
      'libyaml', 'OpenSSL', 'PCRE2', 'wslay' } do
      assert.matches('\n  ' .. name .. ' +%d+%.%d+', result.out)
    end
  end)

  it('is one document with --json', function()
    local document = support.document(support.run { 'version', '--json' })
    assert.equal('perigee', document.name)
    assert.matches('^%d+%.%d+%.%d+$', document.version)
    assert.matches('^5%.4', document.libraries.Lua)
  end)

  it('takes no arguments', function()
    assert.equal(2, support.run({ 'version', 'x' }).status)
  end)
end)
