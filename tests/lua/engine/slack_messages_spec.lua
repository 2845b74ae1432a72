local file = require 'perigee.file'
local json = require 'perigee.json'
local slack_messages = require 'engine.slack_messages'
local slack_text = require 'slack.text'
local support = require 'lua.engine.support'

support.still()

local DIGEST = 'sha256:' .. ('ab'):rep(32)

local function about(more)
  local o = { plan = { id = 'plan-0123456789ab', digest = DIGEST, playbook = 'rollback_checkout',
      trust = 'human_approve', state = 'pending', reason = '', incident_id = 'inc-1',
      expires_at = 1700000900,
      actions = { { name = 'kubernetes.rollback', args = { namespace = 'shop' } },
        { name = 'verify', args = { query = 'x', below = 1 } } },
      previews = { { summary = 'roll back shop/checkout to revision 6', current = 'revision 7',
        proposed = 'revision 6', diff = '-  image: shop:7\n+  image: shop:6', replicas = 4,
        unavailable = 1, warnings = { 'the image was pulled long ago' } }, {} } },
    incident = { name = 'checkout_degraded', labels = { app = 'checkout', namespace = 'shop' } },
    evidence = { { signal = 'latency', labels = { app = 'checkout' }, value = 2.5,
      reason = '2.5 is above 1', sparkline = '▁▂▇█' } },
    progress = { given = 1, needed = 2, group = 'sre' }, decisions = {}, done = {}, reverted = {},
    value = 'v1:plan-0123456789ab:abababababababab:' .. ('0'):rep(32) }
  for k, v in pairs(more or {}) do o[k] = v end
  return o
end

--- Calls f(text object, where) for everything that is shown.
local function each_text(node, f, where)
  if type(node) ~= 'table' then return end
  if type(node.text) == 'string' then f(node, where or '') end
  for key, value in pairs(node) do each_text(value, f, (where or '') .. '/' .. tostring(key)) end
end

local length = slack_text.length

local LIMITS = { header = 150, section = 3000, context = 2000 }

--- What Slack would refuse, or what would do more than to show itself.
local function assert_valid(text, blocks)
  assert.is_true(#blocks <= 50)
  assert.is_true(length(text) <= 4000 and text ~= '')
  assert.is_nil(text:find '[<>]')
  local encoded = json.encode(blocks)
  assert.is_true(length(encoded) <= 13000, length(encoded))
  local ids = {}
  for _, block in ipairs(blocks) do
    assert.truthy(({ header = 1, section = 1, actions = 1, context = 1 })[block.type])
    if block.block_id then
      assert.is_true(#block.block_id <= 255 and not ids[block.block_id])
      ids[block.block_id] = true
    end
    if block.text then
      assert.is_true(length(block.text.text) <= LIMITS[block.type] and block.text.text ~= '')
    end
    assert.is_true(#(block.fields or {}) <= 10)
    for _, field in ipairs(block.fields or {}) do assert.is_true(length(field.text) <= 2000) end
    assert.is_true(#(block.elements or {}) <= 10)
    for _, element in ipairs(block.elements or {}) do
      if element.type == 'button' then
        assert.is_true(length(element.text.text) <= 75 and #element.value <= 2000)
        local confirm = element.confirm
        if confirm then
          assert.is_true(length(confirm.title.text) <= 100 and length(confirm.text.text) <= 300)
          assert.is_true(length(confirm.confirm.text) <= 30 and length(confirm.deny.text) <= 30)
        end
      end
    end
  end
  each_text(blocks, function(object, where)
    local shown = object.text
    assert.truthy(utf8.len(shown), where)
    -- Dates and people who decided are all that is written in Slack's own marks.
    local rest = shown:gsub('<!date%^%d+%^{date_short_pretty} {time}|[%d:TZ.-]+>', '')
      :gsub('<@[UW]%w+>', '')
    assert.is_nil(rest:find '[<>]', where .. ': ' .. rest)
    assert.is_nil(rest:gsub('&amp;', ''):gsub('&lt;', ''):gsub('&gt;', ''):find '&', where)
    if object.type == 'mrkdwn' then assert.is_true(object.verbatim) end
    assert.is_nil(shown:find '[%z\1-\9\11-\31\127]', where)
  end)
end

describe('the message about a plan', function()
  it('shows what is wrong, each step with its dry run, risk, trust and time', function()
    local text, blocks = slack_messages.plan(about())
    assert_valid(text, blocks)
    assert.equal('To approve: rollback_checkout (checkout_degraded app=checkout, namespace=shop)',
      text)
    local all = json.encode(blocks)
    for _, words in ipairs { '*Trust*\\nhuman_approve',
      '1 of 4 pods unavailable at once, 1 warning',
      '*State*\\npending', '*latency*',
      '1 of 2, of sre', '<!date^1700000900^', '▁▂▇█', '2.5 is above 1', 'revision 7 → revision 6',
      '-  image: shop:7\\n+  image: shop:6', 'the image was pulled long ago', DIGEST, 'inc-1' } do
      assert.truthy(all:find(words, 1, true), words)
    end
    local actions = blocks[#blocks - 1]
    assert.equal('actions', actions.type)
    local approve, reject = table.unpack(actions.elements)
    assert.same({ 'approve_remediation', 'primary', 'reject_remediation', 'danger' },
      { approve.action_id, approve.style, reject.action_id, reject.style })
    assert.is_table(approve.confirm)
    assert.matches('^v1:plan%-0123456789ab:', approve.value)
  end)

  it('names who decided by their id in Slack only where they are of Slack', function()
    local o = about { decisions = {
      { who = 'U123', via = 'slack', decision = 'approved', reason = '', at = 1700000000 },
      { who = '<!channel>', via = 'api', decision = 'rejected', reason = 'a & b',
        at = 1700000001 },
      { who = 'U1> <!here', via = 'slack', decision = 'approved', reason = '', at = 1700000001 } } }
    o.plan.state, o.plan.reason = 'rejected', 'a & b'
    local text, blocks = slack_messages.plan(o)
    assert_valid(text, blocks)
    local all = json.encode(blocks)
    assert.truthy(all:find('approved by <@U123> via slack', 1, true))
    assert.truthy(all:find('rejected by &lt;!channel&gt; via api', 1, true))
    assert.is_nil(all:find('"actions"', 1, true))
  end)

  it('keeps within Slack\'s limits whatever labels, reasons and diffs hold', function()
    local random = support.random(7)
    local PIECES = { '<!channel>', '<@U1>', '&', '<', '>', '&lt;', '@here', '*', '_', '~', '`',
      '```', '\n', '\r', '\0', '"', '\\', 'ä', '漢', '😀', '\u{202E}', '\u{200B}',
      '\xff', '\xed\xa0\x80',
      '\xf0\x9f', '|', '^', '<https://evil|ok>', '<!date^0^x|y>', 'word ', '\u{2028}', '\x7f' }
    local function hostile(most)
      local out = {}
      for i = 1, random(most) do
        local piece = PIECES[random(#PIECES)]
        out[i] = piece:rep(random(4) == 1 and random(200) or 1)
      end
      return table.concat(out)
    end
    for round = 1, 50 do
      local o = about { progress = { given = random(100), needed = 100, group = hostile(40) } }
      o.incident = { name = hostile(60), labels = {} }
      for _ = 1, random(20) do o.incident.labels[hostile(10)] = hostile(300) end
      o.evidence, o.plan.actions, o.plan.previews = {}, {}, {}
      for i = 1, random(15) do
        o.evidence[i] = { signal = hostile(50), labels = o.incident.labels, value = 1e300,
          reason = random(3) > 1 and hostile(200) or nil, sparkline = ('█'):rep(30) }
      end
      for i = 1, random(50) do
        o.plan.actions[i] = { name = 'http.request', args = { url = ('"'):rep(random(300)) } }
        o.plan.previews[i] = random(3) == 1 and {} or { summary = hostile(80),
          current = hostile(30), proposed = hostile(30), diff = hostile(1500),
          warnings = { hostile(40), hostile(40) },
          unavailable = 3, replicas = 4 }
        if random(2) == 1 then
          o.done[i] = { state = 'failed', outcome = json.encode { message = ('"<'):rep(200) } }
        end
        o.reverted[i] = random(4) == 1 and o.done[i] or nil
      end
      for i = 1, random(12) do
        o.decisions[i] = { who = hostile(20), via = 'slack', decision = 'approved', at = 1700000000,
          reason = hostile(100) }
      end
      o.plan.playbook = hostile(100)
      o.plan.state = round % 2 == 0 and 'pending' or 'failed'
      o.plan.reason = hostile(200)
      assert_valid(slack_messages.plan(o))
    end
  end)

  it('is what Slack\'s description of chat.postMessage asks for', function()
    local path = '../shared/reference/openapi/slack-web-api-2021.json'
    local text = file.read(path, 64 << 20)
    if not text then return pending(path .. ' is not there') end
    local post = json.decode(text).paths['/chat.postMessage'].post
    local known = {}
    for _, parameter in ipairs(post.parameters) do known[parameter.name] = parameter end
    for _, name in ipairs { 'channel', 'text', 'blocks', 'thread_ts', 'unfurl_links',
      'unfurl_media', 'link_names' } do
      assert.truthy(known[name], name)
    end
  end)
end)

describe('formatting', function()
  it('is ours alone, and names keep their underscores', function()
    local o = about()
    o.evidence[1].reason = '*bold* _it_ ~no~ `code` a_b _ __x__ a_'
    local all = json.encode((select(2, slack_messages.plan(o))))
    assert.truthy(all:find('∗bold∗ ＿it＿ ∼no∼ ˋcodeˋ a_b ＿ ＿＿x＿＿ a＿', 1, true), all)
    assert.truthy(all:find('rollback_checkout', 1, true))
  end)
end)
