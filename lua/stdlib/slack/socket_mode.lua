--- Slack's Socket Mode: clicks come over connections that we open. Each envelope is acknowledged
--- once it is on the disk and before anything is done about it; the work is another task's.
---
--- A line keeps one connection up: it opens the next one, and has its hello, before it lets go of
--- one that Slack wants to end. At a reload the same goes for the whole generation: the one before
--- goes on acknowledging until the new one has been greeted.
local async = require 'async'
local clock = require 'perigee.clock'
local hash = require 'perigee.hash'
local http = require 'http'
local json = require 'perigee.json'
local log = require 'log'
local metrics = require 'engine.metrics'
local slack_inbox = require 'engine.slack_inbox'
local websocket = require 'websocket'

local socket_mode = {}

local HELLO = 15        -- seconds from an open connection to Slack's greeting
local GRACE = 1         -- seconds for which one that is let go of is still listened to
local SHORT = 5         -- a connection that lives no longer has not got far
local SLOW = 300        -- seconds between two attempts where an operator has to do something
local HAND_OVER = 15    -- seconds that the next generation may take to be greeted
local GHOST = 60        -- seconds for which Slack may still count a connection that is gone
local BASE, CAP = 1, 60 -- seconds: the waits between attempts that fail
local CROWDED = 4       -- failures that an app with too many connections counts for, at least

-- Only an operator can help; until the token is another one nothing more is asked.
local FATAL = { not_authed = true, invalid_auth = true, account_inactive = true,
  user_removed_from_team = true, team_disabled = true, token_revoked = true, token_expired = true,
  not_allowed_token_type = true, missing_scope = true }

local REASONS = { warning = true, refresh_requested = true, too_many_websockets = true,
  link_disabled = true }

-- -- who holds the app's connections --------------------------------------------------------------

--- What the generation that has started last says of itself: { holder, up, connections, at }.
local function read_holder(store)
  local row = store:row "select value from settings where name = 'slack_socket'"
  return row and json.decode(row.value) or nil
end

local function write_holder(store, value)
  store:exec("insert or replace into settings (name, value) values ('slack_socket', ?)",
    json.encode(value))
end

local Socket = {} -- all lines of a generation
Socket.__index = Socket

function Socket:tell_holder(up)
  write_holder(self.engine.store, { holder = self.id, up = up, connections = self.connections,
    at = clock.now() })
end

--- Whether another generation has taken over: nil, or whether it has been greeted.
function Socket:successor()
  local row = read_holder(self.engine.store)
  if row and row.holder == self.id then return nil end
  return not row or row.up
end

--- How many connections of the app are somebody else's, who then gets some of the clicks.
function Socket:count_foreign(total)
  local now, own = clock.monotonic(), self.open
  for i = #self.ghosts, 1, -1 do
    if now - self.ghosts[i] > GHOST then table.remove(self.ghosts, i) end
  end
  local foreign = math.max(0, total - own - #self.ghosts)
  metrics.slack_foreign:set(foreign)
  if foreign > 0 and foreign ~= self.foreign then
    log.warn('others are connected to the same Slack app, and take some of its clicks',
      { connections = total, ours = own })
  end
  self.foreign = foreign
end

-- -- one connection -------------------------------------------------------------------------------

---@class socket_mode.Connection
---@field ws perigee.WebSocket
---@field greeted boolean
---@field told? string     why Slack wants it to end
---@field ended boolean
---@field since number
local Line = {}
Line.__index = Line

local function is_id(v) return type(v) == 'string' and #v > 0 and #v <= 255 end

local KINDS = { interactive = true, events_api = true, slash_commands = true }

--- Hands an envelope over to be kept and acknowledged, with all that arrive until that begins.
function Line:take(conn, envelope, at)
  local owner, kind = self.owner, type(envelope.type) == 'string' and envelope.type or '?'
  if kind ~= 'interactive' then -- an app that subscribes to events gets many
    local tell = KINDS[kind] and log.debug or log.info
    tell('Slack sent what nobody here waits for', { type = kind:sub(1, 64) })
  end
  table.insert(owner.arrived, { conn = conn, id = envelope.envelope_id, kind = kind,
    payload = envelope.payload, at = at })
  if #owner.arrived == 1 then owner:spawn(owner.keep, owner) end
end

local function acknowledge(one)
  local ok, why = one.conn.ws:send(json.encode { envelope_id = one.id })
  metrics.slack_envelopes:add(1, KINDS[one.kind] and one.kind or 'other',
    ok and 'acknowledged' or 'failed')
  if not ok then log.warn('an envelope of Slack could not be acknowledged', { reason = why }) end
  metrics.slack_acknowledge:observe(clock.monotonic() - one.at)
end

--- Keeps what has arrived, with one wait for the disk, and acknowledges it. What is acknowledged is
--- not sent again, so what could not be kept is not.
function Socket:keep()
  if #self.arrived == 0 then return end
  local batch, any_new = self.arrived, false
  self.arrived = {}
  local ok, problem = xpcall(self.engine.store.transaction, debug.traceback, self.engine.store,
    function()
      for _, one in ipairs(batch) do
        if one.kind == 'interactive' then
          local _, is_new = slack_inbox.store(self.engine, one.id, one.kind, one.payload)
          any_new = any_new or is_new
        end
      end
    end)
  if not ok then
    metrics.slack_envelopes:add(#batch, 'interactive', 'not_kept')
    log.error('clicks of Slack could not be kept, and are not acknowledged',
      { clicks = #batch, error = problem })
    return
  end
  for _, one in ipairs(batch) do acknowledge(one) end
  if any_new and not self.stopping then self.engine.poke() end
end

function Line:greet(conn, message)
  local owner = self.owner
  conn.greeted = true
  owner.open = owner.open + 1
  metrics.slack_connections:add(1)
  log.info('Slack has greeted a connection', { connections = owner.open })
  if not owner.stopping and not owner.up then
    owner.up = true
    owner:tell_holder(true)
  end
  owner:count_foreign(tonumber(message.num_connections) or 0)
  self.news:set()
end

function Line:heed(conn, message)
  local reason = REASONS[message.reason] and message.reason or 'other'
  metrics.slack_disconnects:add(1, reason)
  log.info('Slack wants to end a connection', { reason = reason })
  conn.told = reason
  self.news:set()
end

--- What one message of Slack is for.
function Line:handle(conn, text, at)
  local message = json.decode(text)
  if type(message) ~= 'table' then
    log.debug('Slack sent what is no JSON', { bytes = #text })
  elseif message.type == 'hello' then
    if not conn.greeted then self:greet(conn, message) end
  elseif message.type == 'disconnect' then
    self:heed(conn, message)
  elseif is_id(message.envelope_id) then
    self:take(conn, message, at)
  end
end

--- Listens until the connection has ended, whatever the line does meanwhile.
function Line:listen(conn)
  local _ <close> = setmetatable({}, { __close = function()
    conn.ended = true
    conn.ws:abandon()
    if conn.greeted then
      self.owner.open = self.owner.open - 1
      metrics.slack_connections:add(-1)
    end
    self.news:set()
  end })
  while true do
    local text, is_text, code = conn.ws:receive()
    if not text then
      conn.lost = code ~= 'closed'
      if conn.lost then
        table.insert(self.owner.ghosts, clock.monotonic())
        metrics.slack_disconnects:add(1, 'lost')
        log.warn('a connection to Slack is lost', { reason = is_text })
      end
      return
    end
    if is_text then self:handle(conn, text, clock.monotonic()) end
  end
end

--- Ends a connection in order: what has arrived is acknowledged first, for then nothing can be.
local function close(owner, conn)
  owner.guarded(owner.keep, owner)
  conn.ws:close()
end

--- Lets go of one that another has taken the place of; what still arrives is acknowledged.
local function retire(owner, conn)
  if not conn or conn.ended then return end
  async.spawn(function()
    conn.ws:ended(GRACE)
    close(owner, conn)
  end)
end

-- -- a line ---------------------------------------------------------------------------------------

local function check_url(engine, url)
  if type(url) ~= 'string' then return 'the answer has no URL' end
  if url:find '^wss://' then return end
  local parsed = url:find '^ws://' and http.parse_url((url:gsub('^ws', 'http')))
  if not parsed or not http.is_loopback(parsed.host)
    or not engine.config.slack.api_url:find '^http://' then
    return 'the URL is not wss'
  end
end

--- Asks for a URL, each is good for one connection, and connects.
---@return socket_mode.Connection? conn
---@return table? failure  { error, message }
function Line:connect()
  local engine = self.owner.engine
  local answer, failure = engine.slack:call 'apps.connections.open'
  if not answer then return nil, failure end
  local wrong = check_url(engine, answer.url)
  if wrong then return nil, { error = 'url', message = wrong } end
  local tls = engine.config.slack.tls
  local ws, why, code = websocket.connect { url = answer.url, ca_file = tls and tls.ca_file,
    open_timeout = engine.config.slack.timeout, peer_ping_timeout = 30 }
  if not ws then return nil, { error = code, message = why } end
  local conn = { ws = ws, greeted = false, ended = false, since = clock.monotonic() }
  self.owner:spawn(self.listen, self, conn)
  return conn
end

--- Waits for news until done() or the time is up.
function Line:wait(seconds, done)
  local until_then = clock.monotonic() + seconds
  while not done() and not self.owner.stopping do
    local left = until_then - clock.monotonic()
    if left <= 0 then return end
    self.news:clear()
    self.news:wait(left < math.huge and left or -1)
  end
end

---@return socket_mode.Connection? conn  that has been greeted, or told to go
---@return table? failure
function Line:open()
  local conn, failure = self:connect()
  if not conn then
    metrics.slack_connects:add(1, 'failed')
    return nil, failure
  end
  self:wait(HELLO, function() return conn.greeted or conn.told or conn.ended end)
  metrics.slack_connects:add(1, conn.greeted and 'greeted' or 'failed')
  if conn.greeted or conn.told then return conn end
  conn.ws:close()
  return nil, { error = 'no_hello', message = 'Slack did not say hello' }
end

--- Waits longer after each failure, and not as long as others.
function Line:pause()
  self.failures = self.failures + 1
  local longest = math.min(CAP, BASE * 2 ^ math.min(self.failures - 1, 10))
  self.owner.stopped:wait(longest * (0.5 + 0.5 * math.random()))
end

--- Nothing more is asked until the file holds another token: asking again cannot help.
function Line:give_up(failure)
  local file = self.owner.engine.config.slack.app_token_file
  local refused = http.token(file)
  metrics.slack_failed:set(1)
  log.error('Slack refuses the app: no clicks arrive until its token is replaced',
    { reason = failure.error, app_token_file = file })
  while not self.owner.stopping and http.token(file) == refused do self.owner.stopped:wait(1) end
  metrics.slack_failed:set(0)
end

function Line:failed(failure)
  if FATAL[failure.error] then return self:give_up(failure) end
  log.warn('no connection to Slack', { reason = failure.message, attempt = self.failures + 1 })
  if failure.retry_after then self.owner.stopped:wait(failure.retry_after) end
  self:pause()
end

--- What to do once a connection has ended, or is to end.
function Line:after(conn)
  if conn.told == 'too_many_websockets' then
    conn.ws:close() -- first: one more would make it worse
    self.current = nil
    log.error('the Slack app has too many connections; some other program holds them')
    self.failures = math.max(self.failures, CROWDED - 1)
    self:pause()
  elseif conn.told == 'link_disabled' then
    conn.ws:close()
    self.current = nil
    metrics.slack_failed:set(1)
    log.error('Socket Mode is switched off for the Slack app: no clicks arrive')
    self.owner.stopped:wait(SLOW)
    metrics.slack_failed:set(0)
  elseif not conn.greeted then
    conn.ws:close()
    self:pause()
  elseif conn.ended then
    self.current = nil
    -- One that ends as soon as it begins is a failure, whatever it said.
    if conn.lost or clock.monotonic() - conn.since < SHORT then self:pause() end
  end
end

--- One connection, from its opening to the moment when the next one is wanted.
function Line:step()
  local conn, failure = self:open()
  if not conn then return self:failed(failure) end
  if conn.greeted then
    self.failures = 0
    retire(self.owner, self.current)
    self.current = conn
  end
  self:wait(math.huge, function() return conn.ended or conn.told end)
  if not self.owner.stopping then self:after(conn) end
end

--- The end of a generation: at once, or once the next one has been greeted.
function Line:finish()
  local conn = self.current
  if not conn then return end
  local until_then = clock.monotonic() + HAND_OVER
  while self.owner:successor() == false and not conn.ended and clock.monotonic() < until_then do
    conn.ws:ended(0.1)
  end
  if self.owner:successor() ~= nil then conn.ws:ended(GRACE) end
  close(self.owner, conn)
  conn.ws:ended(5)
end

function Line:run()
  while not self.owner.stopping do
    if not self.owner.guarded(self.step, self) then self:pause() end
  end
  self:finish()
end

-- -- a generation's lines -------------------------------------------------------------------------

--- An error of ours ends what it happened in, and no more.
function Socket.guarded(f, ...)
  local ok, message = xpcall(f, debug.traceback, ...)
  if not ok then
    metrics.internal_errors:add(1, 'Socket Mode')
    log.error('an internal error', { doing = 'Socket Mode', error = message })
  end
  return ok
end

function Socket:spawn(f, ...) async.spawn(self.guarded, f, ...) end

--- Lets go of the connections, in order. Returns at once.
function Socket:stop()
  if self:successor() == nil then self:tell_holder(true) end -- nobody need wait for us
  self.stopping = true
  self.stopped:set()
  for _, line in ipairs(self.lines) do line.news:set() end
end

--- Connects, where Socket Mode is configured. Returns at once.
---@param engine table
---@return { stop: fun(self) }
function socket_mode.start(engine)
  local o, store = engine.config.slack, engine.store
  local before = read_holder(store)
  local self = setmetatable({ engine = engine, id = hash.random(8), lines = {}, ghosts = {},
    arrived = {}, open = 0, up = false, stopping = false, stopped = async.event(),
    connections = 0 }, Socket)
  if o and o.app_token_file then self.connections = o.socket_mode.connections end
  if self.connections == 0 and not before then return self end
  for _ = 1, before and before.connections or 0 do -- they may still be there for a while
    self.ghosts[#self.ghosts + 1] = clock.monotonic()
  end
  self:tell_holder(self.connections == 0)
  for i = 1, self.connections do
    self.lines[i] = setmetatable({ owner = self, news = async.event(), failures = 0 }, Line)
    async.spawn(self.lines[i].run, self.lines[i])
  end
  return self
end

return socket_mode
