--- Alerts that the webhook has brought. One row an occurrence, which fingerprint and start name:
--- it fires, is repeated, and is resolved, once. Who brings one waits until the disk has it; those
--- that come together share one commit.
local async = require 'async'
local clock = require 'perigee.clock'
local json = require 'perigee.json'
local log = require 'log'
local metrics = require 'engine.metrics'

local alerts = {}

--- Alertmanager repeats what still fires, and remembers for so long that it has told of it (its
--- --data.retention): an alert that was not repeated for longer is over.
alerts.EXPIRY = 120 * 3600
alerts.MOST = 200000 -- occurrences that are kept

local WAIT = 20       -- seconds that a sender waits for the disk
local MAX_QUEUE = 50000
local COUNT_EVERY, EXPIRE_EVERY = 5, 60 -- seconds between two looks at all rows

-- -- keeping --------------------------------------------------------------------------------------

--- The names of the alerts that rules wait for.
local function awaited_names(engine)
  local names = {}
  for _, def in pairs(engine.rules.playbooks) do
    if def.when.kind == 'alert' then names[def.when.name] = true end
  end
  return names
end

local function insert(engine, alert, now, names)
  local name = alert.labels.alertname or ''
  local awaited = alert.status == 'firing' and names[name] == true
  engine.store:exec([[insert into alerts (fingerprint, starts_at, name, status, labels, annotations,
    generator_url, ends_at, received_at, seen_at, is_new, sender)
    values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)]], alert.fingerprint, alert.starts_at, name,
    alert.status, json.encode(alert.labels), json.encode(alert.annotations), alert.generator_url,
    alert.ends_at, now, now, awaited, alert.sender or '')
  return 'stored', awaited
end

--- Keeps one alert. What is resolved stays so: a late repetition of its beginning tells nothing.
---@return "stored"|"repeated"|"resolved"|"duplicate" outcome
---@return boolean? awaited  a rule waits for it
local function keep(engine, alert, now, names)
  local store = engine.store
  local before = store:row('select id, status from alerts where fingerprint = ? and starts_at = ?',
    alert.fingerprint, alert.starts_at)
  if not before then return insert(engine, alert, now, names) end
  if before.status == 'resolved' then return 'duplicate' end
  if alert.status == 'firing' then
    store:exec('update alerts set status = ?, annotations = ?, seen_at = ? where id = ?', 'firing',
      json.encode(alert.annotations), now, before.id)
    return 'repeated'
  end
  store:exec('update alerts set status = ?, ends_at = ?, seen_at = ?, is_new = 0 where id = ?',
    'resolved', alert.ends_at or now, now, before.id)
  return 'resolved'
end

local function keep_all(engine, batch)
  local now, names = clock.now(), awaited_names(engine)
  for _, list in ipairs(batch.lists) do
    local counts = { stored = 0, repeated = 0, resolved = 0, duplicate = 0 }
    for _, alert in ipairs(list) do
      local outcome, awaited = keep(engine, alert, now, names)
      counts[outcome] = counts[outcome] + 1
      batch.awaited = batch.awaited or awaited
    end
    batch.counts[list] = counts
  end
end

--- Commits what has come together, and lets those who brought it know.
local function flush(engine, batch)
  async.turn() -- whoever has come with the same turn of the loop joins
  if engine.alert_batch == batch then engine.alert_batch = nil end
  local ok, message = pcall(engine.store.transaction, engine.store,
    function() keep_all(engine, batch) end)
  batch.failure = not ok and message or nil
  batch.done:set()
  if not ok then
    metrics.internal_errors:add(1, 'keeping alerts')
    log.error('alerts could not be kept', { alerts = batch.n, error = message })
  elseif batch.awaited then
    engine.poke()
  end
end

--- Whether all of a list is kept already, so that it takes no room.
local function is_known(store, list)
  for _, alert in ipairs(list) do
    if not store:row('select 1 from alerts where fingerprint = ? and starts_at = ?',
      alert.fingerprint, alert.starts_at) then
      return false
    end
  end
  return true
end

--- Whether there is room for more; there always is for the end of what is kept. The rows are
--- counted every few seconds: that takes a while.
local function has_room(engine, list)
  local last, now = engine.alert_count, clock.now()
  if not last or math.abs(now - last.at) > COUNT_EVERY then
    last = { at = now, n = engine.store:row('select count(*) as n from alerts').n }
    engine.alert_count = last
  end
  if last.n + #list <= alerts.MOST then
    last.n = last.n + #list
    return true
  end
  last.is_full = true
  return is_known(engine.store, list)
end

--- Keeps alerts, and returns once they are on the disk.
---@param engine table
---@param list table[]  { fingerprint, starts_at, status, labels, annotations, generator_url,
---       ends_at?, sender? }
---@return table? counts  by outcome: stored, repeated, resolved, duplicate
---@return string? message  it could not be done; trying again may help
function alerts.receive(engine, list)
  if not has_room(engine, list) then
    return nil, ('%d alerts are kept already; no more can be'):format(alerts.MOST)
  end
  local batch = engine.alert_batch
  if batch and batch.n + #list > MAX_QUEUE then return nil, 'too many alerts at once' end
  if not batch then
    batch = { lists = {}, counts = {}, n = 0, done = async.event() }
    engine.alert_batch = batch
    async.spawn(flush, engine, batch)
  end
  batch.lists[#batch.lists + 1], batch.n = list, batch.n + #list
  if not batch.done:wait(WAIT) then return nil, 'the disk takes too long' end
  if batch.failure then return nil, 'the alerts could not be stored' end
  return batch.counts[list]
end

-- -- reading --------------------------------------------------------------------------------------

local function read(row)
  row.labels, row.annotations = json.decode(row.labels), json.decode(row.annotations)
  row.starts_at = tonumber(row.starts_at)
  return row
end

local function read_all(rows)
  for _, row in ipairs(rows) do read(row) end
  return rows
end

--- Those of a name that fire.
---@return table[]
function alerts.firing(store, name)
  return read_all(store:rows([[select * from alerts where name = ? and status = 'firing'
    order by id limit 1000]], name))
end

--- Those that rules wait for and have not been offered to them, the oldest first.
---@param limit integer
function alerts.new(store, limit)
  return read_all(store:rows('select * from alerts where is_new = 1 order by id limit ?', limit))
end

--- An alert has been offered to every rule that waits for it.
function alerts.offered(store, id) store:exec('update alerts set is_new = 0 where id = ?', id) end

--- All of them for the API, those that came last first.
---@param limit integer
---@param status? string
function alerts.list(store, limit, status)
  return read_all(status
    and store:rows('select * from alerts where status = ? order by id desc limit ?', status, limit)
    or store:rows('select * from alerts order by id desc limit ?', limit))
end

--- An alert as the API shows it.
function alerts.view(row)
  local function time(t) return t and clock.text(t) or nil end
  return { fingerprint = row.fingerprint, status = row.status, labels = row.labels,
    annotations = row.annotations,
    generator_url = row.generator_url ~= '' and row.generator_url or nil,
    starts_at = time(row.starts_at), ends_at = time(row.ends_at),
    received_at = time(row.received_at), seen_at = time(row.seen_at) }
end

-- -- what time does -------------------------------------------------------------------------------

--- What fires and was not repeated for long is over; what is over is forgotten in the end. Where
--- there is no room, that what is over is forgotten at once.
function alerts.expire(engine)
  local store, last, now = engine.store, engine.alerts_expired_at, clock.now()
  local full = engine.alert_count and engine.alert_count.is_full
  if not full and last and math.abs(now - last) < EXPIRE_EVERY then return end
  engine.alerts_expired_at = now
  local before = now - alerts.EXPIRY
  store:relaxed(function()
    store:exec("delete from alerts where status <> 'firing' and seen_at < ?",
      full and now or before)
    store:exec([[update alerts set status = 'expired', is_new = 0, seen_at = ?
      where status = 'firing' and seen_at < ?]], now, before)
  end)
  engine.alert_count = nil
end

--- Rules may have come that wait for what fires already.
function alerts.offer_again(engine)
  engine.store:relaxed(function()
    for name in pairs(awaited_names(engine)) do
      engine.store:exec("update alerts set is_new = 1 where name = ? and status = 'firing'", name)
    end
  end)
end

return alerts
