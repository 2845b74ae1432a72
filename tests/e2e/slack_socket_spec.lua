--- Socket Mode of the running program: a reload without a gap, an orderly end, and clicks that
--- outlive kill -9.
local async = require 'async'
local clock = require 'perigee.clock'
local slack_fake = require 'fakes.slack'
local world = require 'e2e.world'

local CONFIG = [[
slack:
  api_url: "%s"
  bot_token_file: bot
  app_token_file: app
  channel: "#incident-response"
  approvers: [U1]
]]

describe('Socket Mode', function()
  local w, fake, p

  local function greeted()
    p:wait_for('hello', 15, function() return p:metric 'perigee_slack_connections' == 1 end)
  end

  before_each(function()
    w, fake = world.new(), slack_fake.serve { ping_ms = 500 }
    for name, token in pairs { bot = slack_fake.BOT_TOKEN, app = slack_fake.APP_TOKEN } do
      w:write('perigee/' .. name, token .. '\n')
    end
    p = w:perigee { tokens = { admin = 'admin' }, config = CONFIG:format(fake.url) }
    greeted()
  end)
  after_each(function()
    w:close()
    fake:close()
  end)

  local function click(i)
    return fake:click { user = 'U' .. i, action_id = 'approve_remediation', value = 'v1:no:plan',
      channel = slack_fake.CHANNEL, ts = '1700000000.000100' }
  end

  --- Who was refused, as the audit trail has it.
  local function refused()
    local who = {}
    for _, r in ipairs(p:get('/api/v1/audit').records) do
      if r.kind == 'click_refused' then who[r.who] = (who[r.who] or 0) + 1 end
    end
    return who
  end

  it('is there all the time while a new configuration takes over, and ends in order', function()
    local n, done, crossed = 0, false, 0
    local clicking = async.spawn(function()
      while not done do
        n = n + 1
        local answer = click(n)
        -- A click that Slack sends while our close is on its way to it can be answered no more:
        -- whoever has pressed sees that, and presses again.
        if answer.error == 'the connection has ended' then
          crossed = crossed + 1
          answer = click(n)
        end
        assert.is_true(answer.acknowledged, answer.error)
      end
    end)
    for i = 1, 3 do
      p:set_config(CONFIG:format(fake.url) .. ('evaluation_interval: %ds\n'):format(10 + i))
      assert.equal(200, p:request('POST', '/-/reload', nil, 'admin').status)
      p:wait_for('the generation before to end', 20, function()
        return p:metric 'perigee_generations_draining' == 0 and fake:state().connections == 1
      end)
    end
    done = true
    clicking:await(10)
    assert.is_true(n > 3 and crossed <= 3, crossed .. ' of ' .. n)
    assert.equal(0, p:metric 'perigee_slack_foreign_connections')
    local before = clock.monotonic()
    assert.equal(0, p:stop())
    assert.is_true(clock.monotonic() - before < 5)
    local closes = fake:state().closes
    assert.equal(4, #closes)
    for _, close in ipairs(closes) do assert.equal(1000, close.code) end
  end)

  it('has kept every click that it has acknowledged, when it is killed', function()
    for round = 1, 3 do
      local answer = click(round)
      p:stop(9)
      assert.is_true(answer.acknowledged)
      p:start()
      greeted()
    end
    p:wait_for('the audit trail', 15, function()
      local who = refused()
      return who.U1 and who.U2 and who.U3 and true
    end)
    local who = refused()
    assert.same({ 1, 1, 1 }, { who.U1, who.U2, who.U3 })
  end)
end)
