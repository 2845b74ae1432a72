--- The scripts of examples/by_hand: each checks what it shows, and ends with an error if it is not
--- so.
local file = require 'perigee.file'

describe('the examples by hand', function()
  local scripts = assert(file.glob 'examples/by_hand/*.lua')

  it('are one for each kernel', function() assert.equal(3, #scripts) end)

  for _, path in ipairs(scripts) do
    it(path .. ' runs to its end and tells something', function()
      local lines = {}
      local chunk = assert(loadfile(path, 't', setmetatable({ print = function(text)
        lines[#lines + 1] = text
      end }, { __index = _G })))
      chunk()
      assert.is_true(#lines >= 2)
    end)
  end
end)
