--- The page: what it shows of plans that wait, and what pressing a button sends.
local file = require 'perigee.file'
local json = require 'perigee.json'
local node = require 'fakes.node'

local HOSTILE <const> = '<img src=x onerror=alert(1)> & "quoted"'

local PLAN = { id = 'plan-1', digest = 'sha256:abc', playbook = HOSTILE, state = 'pending',
  trust = 'human_approve', created_at = '2026-01-01T00:00:00.000Z', incident_id = 'inc-1',
  expires_at = '2026-01-01T00:15:00.000Z', approvals = { given = 1, needed = 2, group = 'sre' },
  decisions = { { who = HOSTILE, via = 'slack', decision = 'approved', reason = 'it helps',
    at = '2026-01-01T00:00:01.000Z' } },
  actions = { { name = 'kubernetes.scale', args = { replicas = 5 }, state = 'waiting',
    preview = { summary = 'scale ' .. HOSTILE, current = '3', proposed = '5', diff = '- 3\n+ 5',
      warnings = { HOSTILE } } }, { name = 'verify', args = { query = 'x' }, state = 'waiting' } } }

local function open(press, decision)
  local get = { ['/api/v1/status'] = { version = '1', signals = 0,
    last_reload = { outcome = 'ok' } } }
  for _, name in ipairs { 'signals', 'incidents', 'plans', 'forecasts' } do
    get['/api/v1/' .. name] = json.array()
  end
  get['/api/v1/approvals'] = json.array { PLAN }
  local out = node.run { 'page.js', '../../runtime/app/web/app.js',
    input = json.encode { get = get, press = press, decision = decision } }
  return json.decode(out)
end

local GOOD = { status = 200, body = { status = 'success', data = {} } }

describe('the page', function()
  it('shows a plan that waits, whole, and as text', function()
    local page = open('Approve…', GOOD)
    assert.is_false(page.before.hidden)
    for _, words in ipairs { HOSTILE, '1 of 2 approvals, of sre', 'scale ' .. HOSTILE, '3 → 5',
      '- 3\n+ 5', '⚠ ' .. HOSTILE, 'verify: {"query":"x"}', 'sha256:abc', 'inc-1',
      'approved by ' .. HOSTILE .. ' (slack)', ': it helps' } do
      assert.truthy(page.before.shown:find(words, 1, true), words)
    end
  end)

  it('asks once more and for a reason, then decides about what it showed', function()
    for label, verb in pairs { ['Approve…'] = 'approve', ['Reject…'] = 'reject' } do
      local page = open(label, GOOD)
      assert.same({ open = true, title = label:gsub('…', '') .. ' ' .. HOSTILE .. '?',
        what = '1. scale ' .. HOSTILE .. '\n2. verify' }, page.asked)
      assert.equal(0, page.sentBefore)
      assert.same({ { path = '/api/v1/plans/plan-1/' .. verb,
        body = { digest = 'sha256:abc', reason = 'because' },
        headers = { Authorization = 'Bearer the-token', ['Content-Type'] = 'application/json' } } },
        page.sent)
      assert.is_false(page.open)
    end
  end)

  it('says why a decision was refused', function()
    local page = open('Approve…', { status = 409, body = { status = 'error',
      error = 'drifted: ' .. HOSTILE } })
    assert.same({ true, 'drifted: ' .. HOSTILE }, { page.open, page.error })
  end)

  it('has every element that its script looks for, and no script or style of its own', function()
    local html = assert(file.read('runtime/app/web/index.html', 1 << 20))
    local script = assert(file.read('runtime/app/web/app.js', 1 << 20))
    for id in script:gmatch "byId%('([%w-]+)'%)" do
      assert.truthy(html:find(('id="%s"'):format(id), 1, true), id)
    end
    assert.is_nil(html:find '<script>')
    assert.is_nil(html:find '<style')
    assert.is_nil(html:find ' style=')
    assert.is_nil(html:find ' on%l+=')
    for _, word in ipairs { 'innerHTML', 'outerHTML', 'insertAdjacentHTML', 'document.write',
      'eval(' } do
      assert.is_nil(script:find(word, 1, true), word)
    end
  end)
end)
