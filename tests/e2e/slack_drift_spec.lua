--- Approvals in Slack of what is done to a cluster: the message shows the server's dry run, an
--- object that a person has changed meanwhile ends the plan, and the thread tells of every step.
local fake = require 'fakes.prometheus'
local fakes = require 'fakes.kubernetes'
local json = require 'json'
local slack_fake = require 'fakes.slack'
local world = require 'e2e.world'

local RULES <const> = [[
signal "slow" { query = "slow", every = "1s", detector = threshold { above = 1 } }
incident "overloaded" { signals = { "slow" }, min_signals = 1, reopen_within = "1s" }
playbook "grow" { when = incident "overloaded", trust = "human_approve", plan = {
  kubernetes.scale { namespace = "shop", deployment = "checkout", increment = 2, max = 9 } } }
]]

local CONFIG <const> = [[
guardrails: { dry_run: false, namespaces: [shop], cooldown: 0s }
kubernetes: { kubeconfig: kubeconfig }
slack: { api_url: "%s", bot_token_file: bot, app_token_file: app, channel: "#incident-response",
  approvers: [U1] }
]]

local KUBECONFIG <const> = [[
apiVersion: v1
kind: Config
current-context: here
clusters: [ { name: here, cluster: { server: "%s" } } ]
users: [ { name: me, user: { token: test-token-0123456789 } } ]
contexts: [ { name: here, context: { cluster: here, user: me } } ]
]]

describe('an approval in Slack', function()
  local w, source, cluster, slack, p

  setup(function()
    w, source = world.new(), fake.serve()
    cluster = fakes.start { objects = { fakes.deployment('shop/checkout', { replicas = 3 }) } }
    slack = slack_fake.serve()
    w:write('perigee/bot', slack_fake.BOT_TOKEN)
    w:write('perigee/app', slack_fake.APP_TOKEN)
    w:write('perigee/kubeconfig', KUBECONFIG:format(cluster.url))
    source.values.slow = 5
    p = w:perigee { source = source.url, tokens = { admin = 'admin' },
      rules = { ['x.lua'] = RULES }, config = CONFIG:format(slack.url) }
  end)
  teardown(function()
    w:close()
    source.close()
    cluster:stop()
    slack:close()
  end)

  --- The message about the plan that waits now, once it is there.
  local function message()
    return p:wait_for('the message', 20, function()
      local plan = p:get('/api/v1/approvals')[1]
      for _, m in ipairs(plan and slack:state().messages or {}) do
        local payload = m.metadata and m.metadata.event_payload
        if payload and payload.key == 'plan/' .. plan.id then return m, plan end
      end
    end), p:get('/api/v1/approvals')[1]
  end

  local function approve(m)
    local value
    for _, block in ipairs(m.blocks) do
      for _, element in ipairs(block.elements or {}) do value = value or element.value end
    end
    assert.is_true(slack:click { user = 'U1', action_id = 'approve_remediation', value = value,
      channel = m.channel, ts = m.ts }.acknowledged)
  end

  local function state(plan, wanted)
    return p:wait_for(wanted, 20, function()
      local now = p:get('/api/v1/plans/' .. plan.id)
      return now.state == wanted and now
    end)
  end

  local function replicas() return cluster:get('Deployment', 'shop', 'checkout').spec.replicas end

  it('of an object that somebody has changed meanwhile does nothing, and says so', function()
    local m, plan = message()
    local text = json.encode(m.blocks)
    assert.truthy(text:find('checkout', 1, true) and text:find('3', 1, true))
    assert.truthy(plan.actions[1].preview.summary)
    local object = json.decode(json.encode(cluster:get('Deployment', 'shop', 'checkout')))
    object.spec.replicas = 4
    cluster:put(object, 'kubectl')
    approve(m)
    assert.matches('^drifted: ', state(plan, 'superseded').reason)
    assert.equal(4, replicas())
    p:wait_for('the message to say so', 20, function()
      for _, now in ipairs(slack:state().messages) do
        if now.ts == m.ts then
          local all = json.encode(now.blocks)
          return all:find('drifted', 1, true) and not all:find('approve_remediation', 1, true)
        end
      end
    end)
    p:wait_for('the person to be told', 20, function()
      local told = slack:state().ephemerals[1]
      return told and told.user == 'U1' and told.text:find('drifted', 1, true)
    end)
  end)

  it('of one that is as it was shown is carried out, step by step in the thread', function()
    source.values.slow = 0
    p:wait_for('the end of the incident', 20, function()
      return #p:get '/api/v1/incidents?state=resolved' > 0
    end)
    source.values.slow = 5
    local m, plan = message()
    approve(m)
    state(plan, 'executed')
    assert.equal(6, replicas())
    local thread = p:wait_for('the thread', 20, function()
      local lines = {}
      for _, now in ipairs(slack:state().messages) do
        if now.thread_ts == m.ts then lines[#lines + 1] = now.text end
      end
      return #lines >= 2 and table.concat(lines, '\n')
    end)
    assert.matches('^Step 1 %(kubernetes.scale%) has begun\n', thread)
    assert.matches('Step 1 %(kubernetes.scale%): succeeded', thread)
    assert.is_nil(p:log():find('level=error', 1, true), p:log())
  end)
end)
