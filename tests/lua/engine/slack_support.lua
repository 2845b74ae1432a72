--- What the specs of Slack share: an engine whose Slack is a table that keeps what it was told and
--- answers as the test says, and a plan that waits.
local clock = require 'perigee.clock'
local json = require 'perigee.json'
local plans = require 'engine.plans'
local slack_outbox = require 'engine.slack_outbox'
local support = require 'lua.engine.support'

local slack_support = {}

local RULES = [[
signal "a" { query = "a", detector = threshold { above = 1 } }
incident "odd" { signals = { "a" }, min_signals = 1 }
playbook "mend" { when = incident "odd", trust = "human_approve",
  plan = { http.request { method = "POST", url = "http://shop/rollback" } } }
]]

--- A Slack: `calls` are what it was told; answers[method] is a function of the arguments that gives
--- an answer, or nil and a failure.
function slack_support.slack()
  local slack = { calls = {}, answers = {}, n = 0 }

  function slack.answers.postMessage(_)
    slack.n = slack.n + 1
    return { ok = true, channel = 'C1', ts = ('1700000000.%06d'):format(slack.n),
      message = { app_id = 'A1' } }
  end

  function slack.call(_, method, args)
    args = json.decode(json.encode(args)) -- what cannot be sent is an error
    if method == 'auth.test' then return { ok = true, team_id = 'T1' } end
    slack.calls[#slack.calls + 1] = { method = method, args = args }
    local answer = slack.answers[method:match '[^.]+$'] or slack.answers[method]
    if answer then return answer(args) end
    return { ok = true }
  end

  --- The arguments of the calls of one method.
  function slack.of(method)
    local out = {}
    for _, call in ipairs(slack.calls) do
      if call.method == method then out[#out + 1] = call.args end
    end
    return out
  end
  return slack
end

---@param o? { config?: table, store?: table, process?: string, rules?: string, slack?: table }
function slack_support.engine(o)
  o = o or {}
  local config = { slack = { bot_token_file = 'f', channel = '#incidents', approvers = { 'U1' } },
    guardrails = { dry_run = false, http = { { url_prefix = 'http://shop/' } } } }
  for k, v in pairs(o.config or {}) do config[k] = v end
  local engine = support.engine { rules = o.rules or RULES, config = config, store = o.store,
    process = o.process }
  engine.slack = o.slack or slack_support.slack()
  return engine
end

function slack_support.plan(engine, more)
  engine.store:exec([[insert or ignore into incidents
    (id, name, group_key, state, opened_at, updated_at, data)
    values ('inc-1', 'odd', '', 'open', ?, ?,
      '{"labels":{"app":"shop"},"anomalies":[],"episode":1}')]], clock.now(), clock.now())
  local p = { playbook = 'mend', incident_id = 'inc-1', target = '', trust = 'human_approve',
    actions = { { name = 'http.request', args = { method = 'POST', url = 'http://shop/x' } } },
    state = 'pending', expires_at = clock.now() + 900 }
  for k, v in pairs(more or {}) do p[k] = v end
  return plans.create(engine, p)
end

--- Sends everything that is due, as if a second passed with each call.
function slack_support.settle(engine, rounds)
  local sleep = require('async').sleep
  require('async').sleep = function(seconds) clock.advance(seconds) end
  for _ = 1, rounds or 1 do slack_outbox.deliver(engine) end
  require('async').sleep = sleep
end

--- A click on a button of the message about a plan, as Slack sends it.
function slack_support.click(engine, p, more)
  local m = slack_outbox.message(engine.store, p.id)
  local o = { action = 'approve_remediation', user = 'U1', team = 'T1', app = 'A1',
    channel = m and m.channel or 'C1', ts = m and m.ts or '1.000001',
    value = require('engine.slack_value').seal(engine.store, p) }
  for k, v in pairs(more or {}) do o[k] = v end
  return { type = 'block_actions', api_app_id = o.app, team = { id = o.team, domain = 'acme' },
    user = { id = o.user, username = 'someone', team_id = o.team },
    container = { type = 'message', message_ts = o.ts, channel_id = o.channel },
    channel = { id = o.channel, name = 'incidents' }, message = { ts = o.ts },
    response_url = 'https://hooks.slack.com/x', trigger_id = '1.2.3',
    actions = { { type = 'button', action_id = o.action, block_id = 'decision', value = o.value,
      action_ts = '1700000001.000000' } } }
end

return slack_support
