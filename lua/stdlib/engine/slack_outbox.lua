--- What Slack is told: a row first, then the call. A plan's message follows what is in the store,
--- so of many changes only the last is sent; its thread has a row for each step of the journal. One
--- sender at a time, one call a second; after a crash it goes on from the rows.
local async = require 'async'
local clock = require 'perigee.clock'
local hash = require 'perigee.hash'
local incidents = require 'engine.incidents'
local json = require 'perigee.json'
local log = require 'log'
local metrics = require 'engine.metrics'
local plans = require 'engine.plans'
local quorum = require 'engine.quorum'
local slack_evidence = require 'engine.slack_evidence'
local slack_messages = require 'engine.slack_messages'
local slack_value = require 'engine.slack_value'

local slack_outbox = {}

local LEASE = 180      -- seconds for which nobody else sends a row that is being sent
local PACE = 1         -- seconds between two calls
local AGAIN = 60       -- the longest until a failed one is tried again
local STALE = 60       -- seconds after which an answer to one person is of no use
local KEEP = 30 * 86400

local function key_of(id) return 'plan/' .. id end

--- The message about a plan, as it is kept; nil where there is none.
function slack_outbox.message(store, id)
  return store:row('select * from slack_messages where key = ?', key_of(id))
end

local function add(store, key, kind, id, content, recipient)
  local now = clock.now()
  return store:exec([[insert or ignore into slack_messages
    (key, kind, plan_id, recipient, content, state, created_at, due_at)
    values (?, ?, ?, ?, ?, 'waiting', ?, ?)]], key, kind, id, recipient or '', content, now, now)
end

--- A line in the thread of a plan's message, once for each name.
function slack_outbox.reply(engine, id, name, words)
  add(engine.store, ('%s/%s'):format(key_of(id), name), 'reply', id, words)
end

--- A line that one person sees; while it waits to be sent it is not added again.
function slack_outbox.whisper(engine, id, user, channel, words)
  local key = ('whisper/%s/%s/%s'):format(id, user, hash.sha256(words):sub(1, 16))
  if add(engine.store, key, 'ephemeral', id, words, user) > 0 then
    engine.store:exec('update slack_messages set channel = ? where key = ?', channel, key)
  end
end

--- Has a plan's message written once more.
function slack_outbox.refresh(engine, id)
  engine.store:exec([[update slack_messages set shown = '', state = 'posted' where key = ?
    and ts <> '']], key_of(id))
end

-- -- following the store --------------------------------------------------------------------------

-- What a plan is like, as far as its message shows it.
local MARK = [[p.state || '/' || (select count(*) from decisions d where d.plan_id = p.id) || '/'
  || coalesce((select group_concat(direction || state, ',') from actions a
    where a.plan_id = p.id), '') as mark]]
local FOLLOWED = 'select m.*, p.state as plan_state, ' .. MARK .. [[ from slack_messages m
  join plans p on p.id = m.plan_id where m.kind = 'plan' and m.state = 'posted' order by m.id]]

local ENDED = { rejected = true, expired = true, superseded = true, executed = true, failed = true,
  unknown = true, dry_run = true, blocked = true }

--- A line for each step that has begun, and for each that has ended.
local function follow_steps(engine, id)
  for _, row in ipairs(engine.store:rows([[select * from actions where plan_id = ?
    order by started_at, position]], id)) do
    local what = ('%s %d (%s)'):format(row.direction == 'revert' and 'The revert of step' or 'Step',
      row.position, row.name)
    local name = ('%d-%s-'):format(row.position, row.direction)
    slack_outbox.reply(engine, id, name .. 'started', what .. ' has begun')
    if row.ended_at then
      local message = json.decode(row.outcome).message
      slack_outbox.reply(engine, id, name .. row.state, ('%s: %s%s'):format(what, row.state,
        message and ', ' .. message or ''))
    end
  end
end

local function follow(engine, row)
  if row.mark == row.shown then
    if ENDED[row.plan_state] then
      engine.store:exec("update slack_messages set state = 'closed' where id = ?", row.id)
    end
    return
  end
  follow_steps(engine, row.plan_id)
end

--- Adds what is to be told: messages of plans that begin to wait, steps of those that run.
local function catch_up(engine)
  local store = engine.store
  local fresh = store:rows [[select id from plans where state = 'pending' and not exists
    (select 1 from slack_messages where plan_id = plans.id and kind = 'plan')]]
  local changed = store:rows(FOLLOWED)
  if #fresh + #changed == 0 then return end
  store:transaction(function()
    for _, p in ipairs(fresh) do add(store, key_of(p.id), 'plan', p.id, '') end
    for _, row in ipairs(changed) do follow(engine, row) end
  end)
end

-- -- sending --------------------------------------------------------------------------------------

local function set(engine, row, fields)
  local names, values = {}, {}
  for name, value in pairs(fields) do
    names[#names + 1], values[#values + 1] = name .. ' = ?', value
  end
  values[#values + 1] = row.id
  engine.store:exec(('update slack_messages set %s where id = ?'):format(table.concat(names, ', ')),
    table.unpack(values))
end

local function close(engine, row) set(engine, row, { state = 'closed', claimed_by = '' }) end

--- After a call that failed: when it is tried again, if at all.
local function put_off(engine, row, failure)
  metrics.slack_messages:add(1, row.kind, 'failed')
  log.error('Slack could not be told', { message = row.key, reason = failure.message })
  if not failure.transient and not failure.uncertain and row.kind ~= 'plan' then
    return close(engine, row)
  end
  local wait = failure.transient and math.min(AGAIN, 2 ^ row.attempts) or AGAIN
  set(engine, row, { attempts = row.attempts + 1, claimed_by = '',
    due_at = clock.now() + math.min(LEASE, math.max(wait, failure.retry_after or 0)),
    state = row.state == 'posted' and 'posted' or failure.uncertain and 'sending' or 'waiting' })
end

--- Notes, on the disk, that a row is about to be sent: whoever finds it later looks whether it was.
local function claim(engine, row)
  engine.store:transaction(function()
    set(engine, row, { state = 'sending', claimed_by = engine.process,
      due_at = clock.now() + LEASE })
  end)
end

local function id(v) return type(v) == 'string' and v:find '^%w+$' and #v <= 64 and v or '' end

--- Our workspace, asked for once; '' where Slack does not say.
local function team_of(engine)
  if not engine.slack_team then
    local answer = engine.slack:call('auth.test')
    if not answer then return '' end
    engine.slack_team = id(answer.team_id)
  end
  return engine.slack_team
end

local function posted(engine, row, answer)
  local message = type(answer.message) == 'table' and answer.message or {}
  set(engine, row, { state = row.kind == 'plan' and 'posted' or 'closed', claimed_by = '',
    channel = answer.channel, ts = answer.ts, app = id(message.app_id),
    team = message.team and id(message.team) or engine.slack_team or '',
    attempts = 0, due_at = clock.now() })
  metrics.slack_messages:add(1, row.kind, 'sent')
end

--- The channel's id as far as it is known: Slack is asked about messages by it alone.
local function channel_id(engine)
  local asked = engine.config.slack.channel
  if asked:find '^[CDG][%u%d]+$' then return asked end
  local row = engine.store:row [[select channel from slack_messages where kind = 'plan'
    and channel <> '' order by id desc limit 1]]
  return row and row.channel
end

--- Looks for a message that may have been posted, by its key. True: it is found and noted.
---@return boolean found
---@return slack.Failure? failure  that passes: nobody can say now
local function find(engine, row, parent)
  local channel = parent and parent.channel or channel_id(engine)
  if not channel then return false end
  local method = parent and 'conversations.replies' or 'conversations.history'
  local answer, failure = engine.slack:call(method, { channel = channel, limit = 200,
    ts = parent and parent.ts or nil, include_all_metadata = true,
    oldest = ('%d.000000'):format(math.floor(row.created_at) - 60) })
  if not answer then return false, failure.transient and failure or nil end
  for _, m in ipairs(type(answer.messages) == 'table' and answer.messages or {}) do
    local metadata = type(m) == 'table' and m.metadata
    local payload = type(metadata) == 'table' and metadata.event_payload
    if type(payload) == 'table' and payload.key == row.key and type(m.ts) == 'string' then
      posted(engine, row, { channel = channel, ts = m.ts, message = m })
      set(engine, row, { shown = '' }) -- what it says may be older than what is so
      return true
    end
  end
  return false
end

--- Posts a message that nobody can take back; after an uncertain end it is looked for first. Where
--- that is not possible it is posted once more: twice is better than never.
local function post(engine, row, args, parent)
  if row.state == 'sending' then
    local found, failure = find(engine, row, parent)
    if found then return end
    if failure then return put_off(engine, row, { message = failure.message, transient = true,
      uncertain = true, retry_after = failure.retry_after }) end
  end
  claim(engine, row)
  args.metadata = { event_type = 'perigee_message',
    event_payload = { key = row.key, plan = row.plan_id } }
  args.unfurl_links, args.unfurl_media, args.link_names = false, false, false
  local answer, failure = engine.slack:call('chat.postMessage', args)
  if answer and type(answer.channel) == 'string' and type(answer.ts) == 'string' then
    posted(engine, row, answer)
  else
    put_off(engine, row, failure or { uncertain = true, transient = true,
      message = 'chat.postMessage: the answer names no message' })
  end
end

--- The text and blocks of a plan's message as things are.
local function content_of(engine, row, p)
  if row.content == '' then
    row.content = json.encode(json.array(slack_evidence.of(engine, p)))
    set(engine, row, { content = row.content })
  end
  local store = engine.store
  local done, reverted = plans.journal_of(store, p.id)
  return slack_messages.plan { plan = p, done = done, reverted = reverted,
    incident = p.incident_id and incidents.get(store, p.incident_id),
    evidence = json.decode(row.content), value = slack_value.seal(store, p),
    progress = quorum.progress(store, p.id),
    decisions = store:rows('select * from decisions where plan_id = ? order by position', p.id) }
end

local function post_plan(engine, row)
  local p = plans.get(engine.store, row.plan_id)
  if p.state ~= 'pending' and row.state == 'waiting' then return close(engine, row) end
  local mark = engine.store:row('select ' .. MARK .. ' from plans p where id = ?', p.id).mark
  local text, blocks = content_of(engine, row, p)
  set(engine, row, { shown = mark })
  team_of(engine)
  post(engine, row, { channel = engine.config.slack.channel, text = text, blocks = blocks })
end

local GONE = { message_not_found = true, cant_update_message = true, edit_window_closed = true,
  channel_not_found = true, is_archived = true }

local function update_plan(engine, row)
  local p = plans.get(engine.store, row.plan_id)
  local text, blocks = content_of(engine, row, p)
  set(engine, row, { claimed_by = engine.process, due_at = clock.now() + LEASE })
  local answer, failure = engine.slack:call('chat.update',
    { channel = row.channel, ts = row.ts, text = text, blocks = blocks })
  if answer then
    set(engine, row, { shown = row.mark, attempts = 0, claimed_by = '', due_at = clock.now() })
    metrics.slack_messages:add(1, 'update', 'sent')
  elseif GONE[failure.error] then
    log.warn('a message in Slack cannot be updated',
      { message = row.key, reason = failure.message })
    close(engine, row)
  else
    put_off(engine, row, failure)
  end
end

local function send_reply(engine, row)
  local parent = slack_outbox.message(engine.store, row.plan_id)
  post(engine, row, { channel = parent.channel, thread_ts = parent.ts,
    reply_broadcast = row.key:find '/reminder%-%d+$' ~= nil, -- the channel sees it too
    text = slack_messages.text(row.content) }, parent)
end

--- To one person, once or not at all.
local function send_whisper(engine, row)
  if math.abs(clock.now() - row.created_at) > STALE then return close(engine, row) end
  engine.store:exec('delete from slack_messages where id = ?', row.id)
  local answer, failure = engine.slack:call('chat.postEphemeral', { channel = row.channel,
    user = row.recipient, text = slack_messages.text(row.content) })
  metrics.slack_messages:add(1, row.kind, answer and 'sent' or 'failed')
  if failure then
    log.warn('a person could not be told in Slack', { user = row.recipient,
      reason = failure.message })
  end
end

local SEND = { plan = post_plan, reply = send_reply, ephemeral = send_whisper }

--- What is due to be posted. What another process was sending is due at once: that process is gone.
local function next_post(engine, kinds)
  local now = clock.now()
  return engine.store:row(([[select * from slack_messages s where state in ('waiting', 'sending')
    and kind in (%s) and (due_at <= ? or due_at > ? or claimed_by not in ('', ?))
    and (kind <> 'reply' or exists (select 1 from slack_messages m
      where m.key = 'plan/' || s.plan_id and m.ts <> '')) order by id limit 1]]):format(kinds),
    now, now + LEASE, engine.process)
end

local function next_update(engine)
  local now = clock.now()
  for _, row in ipairs(engine.store:rows(FOLLOWED)) do
    local of_another = row.claimed_by ~= '' and row.claimed_by ~= engine.process
    if row.mark ~= row.shown
      and (row.due_at <= now or row.due_at > now + LEASE or of_another) then
      return row
    end
  end
end

--- Sends one thing: new plans before changes, people before threads. False: nothing is due.
local function send_next(engine)
  local row = next_post(engine, "'plan'")
  local update = not row and next_update(engine)
  row = row or not update and next_post(engine, "'ephemeral'")
    or not update and next_post(engine, "'reply'")
  if not row and not update then return false end
  if update then update_plan(engine, update) else SEND[row.kind](engine, row) end
  return true
end

--- Sends what is due, in a task of its own. Returns at once.
---@param engine table
function slack_outbox.deliver(engine)
  if not engine.slack then return end
  catch_up(engine)
  if engine.slack_sending then return end
  engine.slack_sending = true
  engine.run('Slack', function()
    local _ <close> = setmetatable({}, { __close = function() engine.slack_sending = false end })
    while not engine.stopping and send_next(engine) do
      async.sleep(PACE)
      catch_up(engine)
    end
  end)
end

--- Forgets what nobody will look at again.
function slack_outbox.prune(store)
  store:exec("delete from slack_messages where state = 'closed' and created_at < ?",
    clock.now() - KEEP)
end

return slack_outbox
