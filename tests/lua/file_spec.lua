local file = require 'perigee.file'

describe('a file that is written', function()
  local folder
  setup(function() folder = assert(file.temporary_folder 'perigee-spec') end)
  teardown(function() os.execute(("rm -rf '%s'"):format(folder)) end)

  it('takes the place of what was there', function()
    local path = folder .. '/x'
    assert.is_true(file.write(path, 'one'))
    assert.is_true(file.write(path, 'two'))
    assert.equal('two', file.read(path))
    assert.same({ path }, file.glob(folder .. '/*'))
  end)

  it('is what a link leads to: the link stays', function()
    local path, link = folder .. '/target', folder .. '/link'
    assert(file.write(path, 'old'))
    assert(os.execute(("ln -s target '%s'"):format(link)))
    assert.is_true(file.write(link, 'new'))
    assert.equal('new', file.read(path))
    assert(os.execute(("test -L '%s'"):format(link)))
  end)

  it('may be a device, which stays one', function()
    local null = folder .. '/null'
    assert(os.execute(("ln -s /dev/null '%s'"):format(null)))
    assert.is_true(file.write(null, 'lost'))
    assert.equal('other', file.stat(null).type)
    assert.equal('other', file.stat('/dev/null').type)
  end)

  it('is not written where there is no folder, or one of its name', function()
    for _, path in ipairs { folder, folder .. '/none/x' } do
      local ok, message = file.write(path, 'x')
      assert.is_nil(ok)
      assert.matches('^cannot write ' .. path:gsub('%p', '%%%0') .. ': ', message)
    end
  end)
end)
