--- `perigee demo`, which is the main job end to end on a real Prometheus: it ends well only if each
--- of its steps really happened, and what it started is gone.
local file = require 'perigee.file'
local process = require 'perigee.process'
local world = require 'e2e.world'

--- The command lines of all processes that name a path.
local function processes_about(path)
  local found = {}
  for _, name in ipairs(file.glob '/proc/[0-9]*/cmdline') do
    local words = file.read(name) or '' -- it may just have ended
    if words:find(path, 1, true) then found[#found + 1] = words:gsub('\0', ' ') end
  end
  return found
end

describe('perigee demo', function()
  local w
  before_each(function() w = world.new() end)
  after_each(function() w:close() end)

  local STORY <const> = { 'Prometheus runs with two weeks of history', 'version 2 is deployed',
    'shop_latency_p99  is odd', 'incident inc%-%x+ shop_degraded opened', 'trust auto',
    'the shop is back at version 1', 'is resolved', 'trust is now human_approve',
    'an approval of another digest is refused %(409%)', 'approved by demo over the API',
    'is resolved', 'rules/broken.lua:3:%d+: .*did you mean "threshold"', 'nothing has changed',
    'the audit trail is whole', '2 rollbacks, both verified',
    'everything that was started is gone' }

  it('tells the whole story in order, in under 90 s, and leaves nothing behind', function()
    local child = assert(process.start { 'env', 'TMPDIR=' .. w.folder, w.program, 'demo' })
    local status, out, err = child:wait(90)
    assert.same({ 0, '' }, { status, err }, out)
    local at = 1
    for _, words in ipairs(STORY) do
      local from, to = out:find(words, at)
      assert.truthy(from, ('"%s" is missing behind: %s'):format(words, out:sub(at)))
      at = to + 1
    end
    assert.same({}, file.glob(w.folder .. '/*'))
    assert.same({}, processes_about(w.folder))
  end)

  it('that cannot go on says why, ends with 1, and leaves nothing running', function()
    local child = assert(process.start { 'env', 'TMPDIR=' .. w.folder, 'PATH=' .. w.folder,
      w.program, 'demo' })
    local status, out, err = child:wait(30)
    assert.equal(1, status)
    assert.truthy(err:find('the demo failed: promtool:', 1, true), err)
    assert.is_nil(err:find('traceback', 1, true))
    assert.truthy(out:find('logs and data are in ' .. w.folder, 1, true))
    assert.same({}, processes_about(w.folder))
  end)
end)
