local action = require 'actions.notify'
local slack_support = require 'lua.engine.slack_support'
local support = require 'lua.engine.support'

support.still()

local function context(more)
  local c = { config = { slack = { channel = 'C1', notify_channels = { '#ops' } } },
    key = 'plan-1-1-forward', started_at = 1700000000 }
  for k, v in pairs(more or {}) do c[k] = v end
  return c
end

describe('notify', function()
  it('writes to the channel of approvals, or to one that the operator names', function()
    local config = context().config
    assert.is_nil(action.allowed({ text = 'x' }, {}))
    assert.is_nil(action.allowed({ text = 'x', channel = 'C1' }, config))
    assert.is_nil(action.allowed({ text = 'x', channel = '#ops' }, config))
    assert.matches('slack.notify_channels does not name #all',
      action.allowed({ text = 'x', channel = '#all' }, config))
    assert.matches('slack is not configured', action.allowed({ text = 'x', channel = '#ops' }, {}))
  end)

  it('tells Slack once, escaped, with its key', function()
    local slack = slack_support.slack()
    local outcome = action.run({ text = '<!channel> a & b\nc', channel = '#ops' },
      context { slack = slack })
    assert.same({ result = 'succeeded', message = 'told #ops' }, outcome)
    local args = slack.of('chat.postMessage')[1]
    assert.same({ '#ops', '&lt;!channel&gt; a &amp; b\nc', 'plan-1-1-forward', false },
      { args.channel, args.text, args.metadata.event_payload.key, args.link_names })
  end)

  it('does not know how it ended where the answer was lost, and looks for the message', function()
    local slack = slack_support.slack()
    local c = context { slack = slack }
    slack.answers.postMessage = function()
      return nil, { message = 'no answer', uncertain = true, transient = true }
    end
    assert.equal('unknown', action.run({ text = 'x' }, c).result)
    slack.answers.postMessage = function() return nil, { message = 'no', uncertain = false } end
    assert.equal('failed', action.run({ text = 'x' }, c).result)
    slack.answers.history = function()
      return { ok = true, messages = { 5, { metadata = 5 }, { metadata = { event_payload = 5 } } } }
    end
    assert.equal('not_done', action.find_out({ text = 'x' }, c).result)
    slack.answers.history = function()
      return { ok = true, messages = { { metadata = { event_payload = { key = c.key } } } } }
    end
    assert.equal('succeeded', action.find_out({ text = 'x' }, c).result)
    slack.answers.history = function() return nil, { message = 'missing_scope' } end
    assert.equal('unknown', action.find_out({ text = 'x' }, c).result)
  end)

  it('tells Alertmanager where there is no Slack, else the log', function()
    local alerts
    local manager = { post = function(_, list)
      alerts = list
      return true
    end }
    local c = context { config = {}, alertmanager = manager }
    assert.equal('succeeded', action.run({ text = 'x' }, c).result)
    assert.same({ alertname = 'PerigeeNotice', key = c.key, severity = 'info' }, alerts[1].labels)
    assert.equal('x', alerts[1].annotations.summary)
    manager.post = function() return nil, 'status 500' end
    assert.same({ result = 'failed', message = 'status 500' }, action.run({ text = 'x' }, c))
    assert.equal('not_done', action.find_out({ text = 'x' }, c).result)
    assert.equal('succeeded', action.run({ text = 'x' }, context { config = {} }).result)
  end)

  it('is one target for the same words to the same people', function()
    assert.equal(action.target { text = 'a' }, action.target { text = 'a' })
    assert.not_equal(action.target { text = 'a' }, action.target { text = 'b' })
    assert.not_equal(action.target { text = 'a' }, action.target { text = 'a', channel = '#ops' })
    assert.matches('longer than 3000', action.check { text = ('x'):rep(3001) })
  end)
end)
