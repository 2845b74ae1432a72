--- Clicks from Slack: kept once each before they are acknowledged, decided about afterwards. What
--- is in a click comes from outside: of all of it only the person is believed, and what our own
--- seal covers.
local async = require 'async'
local audit = require 'engine.audit'
local approvals = require 'engine.approvals'
local clock = require 'perigee.clock'
local hash = require 'perigee.hash'
local json = require 'perigee.json'
local log = require 'log'
local metrics = require 'engine.metrics'
local plans = require 'engine.plans'
local slack_outbox = require 'engine.slack_outbox'
local slack_value = require 'engine.slack_value'

local slack_inbox = {}

local DECISIONS = { approve_remediation = 'approved', reject_remediation = 'rejected' }

local KEEP = 86400         -- seconds for which a click is known again
local MEMBERS_FOR = 300    -- seconds for which a user group's members are believed
local WAITS = 60           -- seconds that a click waits until its message is known to be posted,
                           -- and until Slack says who is in a group
local LEASE = 120          -- seconds for which nobody else decides about a click
local AT_ONCE = 100

-- -- reading --------------------------------------------------------------------------------------

local function text(v, pattern, longest)
  return type(v) == 'string' and #v <= longest and v:find(pattern) and v or nil
end

local function field(v, name) return type(v) == 'table' and v[name] or nil end

--- Our button among those of a payload.
local function button(payload)
  local actions = field(payload, 'actions')
  for i = 1, type(actions) == 'table' and math.min(#actions, 25) or 0 do
    local id = field(actions[i], 'action_id')
    if type(id) == 'string' and DECISIONS[id] then return actions[i] end
  end
end

--- What is needed of a payload, or nil where it is no click on a button of ours.
---@param payload any
---@return { decision: string, value: string, user: string, team?: string, app?: string,
---       channel: string, ts: string }?  team: "" where the payload has none
function slack_inbox.read(payload)
  if field(payload, 'type') ~= 'block_actions' then return nil end
  local action, container = button(payload), field(payload, 'container')
  if not action then return nil end
  local function id(v) return text(v, '^%w*$', 64) end
  local team = payload.team -- none where the app is installed for a whole organisation
  local click = { decision = DECISIONS[action.action_id],
    value = text(field(action, 'value'), '^[%w:%-]+$', 300),
    user = text(field(field(payload, 'user'), 'id'), '^[UW]%w+$', 64),
    team = (team == nil or team == json.null) and '' or id(field(team, 'id')),
    app = id(field(payload, 'api_app_id')),
    channel = id(field(container, 'channel_id') or field(field(payload, 'channel'), 'id')),
    ts = text(field(container, 'message_ts') or field(field(payload, 'message'), 'ts'),
      '^%d+%.%d+$', 32) }
  for _, name in ipairs { 'value', 'user', 'channel', 'ts' } do
    if not click[name] then return nil end
  end
  return click
end

--- Keeps what an envelope or a request holds, once for each id; on the disk when it returns.
---@param engine table
---@param id string      the envelope's, or what else tells it from others
---@param kind string    "interactive"; others are known again, and nothing comes of them
---@param payload any    decoded
---@return true
---@return boolean is_new
function slack_inbox.store(engine, id, kind, payload)
  local click = kind == 'interactive' and slack_inbox.read(payload) or nil
  local now = clock.now()
  local n = engine.store:transaction(function()
    return engine.store:exec([[insert or ignore into slack_clicks
      (id, click, state, received_at, due_at) values (?, ?, ?, ?, ?)]], hash.sha256(id),
      click and json.encode(click) or '', click and 'waiting' or 'done', now, now)
  end)
  metrics.slack_clicks:add(1, n == 0 and 'repeated' or click and 'kept' or 'ignored')
  return true, n > 0
end

-- -- who may --------------------------------------------------------------------------------------

--- The members of a user group, as Slack said within the last minutes; nil where it does not say.
local function members(engine, group)
  local known = engine.slack_members[group]
  if known and math.abs(clock.now() - known.at) < MEMBERS_FOR then return known.users end
  local answer, failure = engine.slack:call('usergroups.users.list', { usergroup = group })
  if not answer or type(answer.users) ~= 'table' then
    log.error('the members of a Slack user group are not known', { group = group,
      reason = failure and failure.message or 'the answer has no users' })
    return nil
  end
  local users = {}
  for _, user in ipairs(answer.users) do users[user] = true end
  engine.slack_members[group] = { users = users, at = clock.now() }
  return users
end

--- Whether a user is one of those who may decide in Slack. May wait.
---@return boolean? may  nil: nobody can say now
local function may_decide(engine, user)
  local o = engine.config.slack
  for _, approver in ipairs(o.approvers) do
    if approver == user then return true end
  end
  engine.slack_members = engine.slack_members or {}
  local all_known = true
  for _, group in ipairs(o.user_groups) do
    local users = members(engine, group)
    if users and users[user] then return true end
    all_known = all_known and users ~= nil
  end
  if all_known then return false end
end

--- The name that a user is known by here.
local function name_of(config, user)
  for _, token in ipairs(config.auth.tokens) do
    if token.slack_user == user then return token.name end
  end
  return user
end

-- -- deciding -------------------------------------------------------------------------------------

local function done(engine, row)
  engine.store:exec("update slack_clicks set state = 'done', click = '' where id = ?", row.id)
end

--- A click of which nothing comes: the person is told, and the audit trail.
local function refuse(engine, row, click, id, words)
  engine.store:transaction(function()
    audit.append(engine.store, 'click_refused', { plan = id, who = click.user, via = 'slack',
      decision = click.decision, reason = words })
    if id then slack_outbox.whisper(engine, id, click.user, click.channel, words) end
    done(engine, row)
  end)
  metrics.slack_clicks:add(1, 'refused')
end

--- The plan that a click is about, if it comes from the message that we posted about it.
---@return table? plan
---@return string? words  why not
---@return boolean? wait  the message is being posted at the moment
local function plan_of(engine, click)
  local id, prefix = slack_value.open(engine.store, click.value)
  local p = id and plans.get(engine.store, id)
  if not p then return nil, 'the button is not one of ours' end
  if not slack_value.fits(prefix, p.digest) then return nil, 'the button is of another digest' end
  local message = slack_outbox.message(engine.store, id)
  if not message then return nil, 'no message of ours is about this plan' end
  if message.ts == '' then return nil, 'the message is not known to be ours', true end
  for _, name in ipairs { 'channel', 'ts', 'team', 'app' } do
    local is_unsaid = message[name] == '' or name == 'team' and click.team == ''
    if not is_unsaid and message[name] ~= click[name] then
      return nil, ('the click is not from the message that was posted: another %s'):format(name)
    end
  end
  return p
end

--- A generation that ends and the one that begins do not decide about the same click.
local function claim(engine, row)
  engine.store:relaxed(function()
    engine.store:exec('update slack_clicks set claimed_by = ?, due_at = ? where id = ?',
      engine.process, clock.now() + LEASE, row.id)
  end)
end

--- Leaves a click for later, where it has not waited for too long.
local function put_off(engine, row, seconds)
  if clock.now() - row.received_at >= WAITS then return false end
  engine.store:exec("update slack_clicks set due_at = ?, claimed_by = '' where id = ?",
    clock.now() + seconds, row.id)
  return true
end

local function take(engine, row)
  local click = json.decode(row.click)
  local p, words, wait = plan_of(engine, click)
  if wait and put_off(engine, row, 1) then return end
  if not p then return refuse(engine, row, click, nil, words) end
  claim(engine, row)
  local may = may_decide(engine, click.user)
  if may == nil then
    if put_off(engine, row, 5) then return end
    return refuse(engine, row, click, p.id,
      'Slack does not say who is in the user groups that may decide: try again later')
  elseif not may then
    return refuse(engine, row, click, p.id, 'you are not one of those who may decide about it')
  end
  local decided, refusal = approvals.decide(engine, p.id, click.decision,
    { who = name_of(engine.config, click.user), via = 'slack', digest = p.digest })
  if decided then
    done(engine, row)
    engine.poke()
  elseif refusal.status == 503 then -- the generation that is active now decides about it
    engine.store:exec("update slack_clicks set claimed_by = '', due_at = ? where id = ?",
      clock.now(), row.id)
  else
    refuse(engine, row, click, p.id, refusal.message)
    -- Somebody has seen a button that should be gone.
    if plans.get(engine.store, p.id).state ~= 'pending' then
      slack_outbox.refresh(engine, p.id)
    end
  end
end

--- Clicks that are due. What another process was deciding about is: that process is gone.
local function waiting(engine)
  local now = clock.now()
  return engine.store:rows([[select * from slack_clicks where state = 'waiting' and (due_at <= ?
    or due_at > ? or claimed_by not in ('', ?)) order by received_at, id limit ?]], now,
    now + LEASE, engine.process, AT_ONCE)
end

local function work(engine)
  local rows = waiting(engine)
  while #rows > 0 and not engine.stopping do
    for _, row in ipairs(rows) do
      if engine.stopping then return end
      take(engine, row)
      async.turn() -- sockets are to be acknowledged meanwhile
    end
    rows = waiting(engine)
  end
end

--- Decides about what has been kept, one click after the other, in a task of its own.
---@param engine table
function slack_inbox.process(engine)
  if not engine.slack or engine.slack_clicking or #waiting(engine) == 0 then return end
  engine.slack_clicking = true
  engine.run('clicks', function()
    local _ <close> = setmetatable({}, { __close = function() engine.slack_clicking = false end })
    work(engine)
  end)
end

--- Forgets clicks that nobody will send again.
function slack_inbox.prune(store)
  store:exec("delete from slack_clicks where state = 'done' and received_at < ?",
    clock.now() - KEEP)
end

return slack_inbox
