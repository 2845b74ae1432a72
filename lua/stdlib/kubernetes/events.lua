--- Events: what we have done to an object, told where its owners look. They vanish after an hour
--- and some are left out on purpose, so they are never the record of what happened. Identical ones
--- become a count, many similar ones one summary, and one object gets only so many.
local clock = require 'perigee.clock'
local excerpt = require 'excerpt'
local hash = require 'perigee.hash'
local log = require 'log'
local names = require 'kubernetes.names'

local events = {}

local MAX_MESSAGE = 1024         -- bytes
local SIMILAR, WINDOW = 10, 600  -- so many of one kind within seconds become a summary
local BURST, REFILL = 25, 300    -- of one object; then one in so many seconds
local MAX_KNOWN = 4096           -- of each memory; the oldest goes
local KEEP = 3600                -- seconds: longer ago the server has forgotten it, too

local TYPES = { Normal = true, Warning = true }

-- -- memories -------------------------------------------------------------------------------------

--- Values by key, of which the one that was put in first goes when there are too many.
local function memory()
  local self, values, order, first = {}, {}, {}, 1
  function self.get(key) return values[key] end
  function self.put(key, value)
    if values[key] == nil then
      order[#order + 1] = key
      if #order - first + 1 > MAX_KNOWN then
        values[order[first]] = nil
        first = first + 1
        if first > MAX_KNOWN then
          table.move(order, first, #order, 1)
          for i = #order, #order - first + 2, -1 do order[i] = nil end
          first = 1
        end
      end
    end
    values[key] = value
  end
  return self
end

---@class kubernetes.Recorder
local Recorder = {}
Recorder.__index = Recorder

---@param client kubernetes.Client
---@param instance string  which of our replicas tells it
function events.recorder(client, instance)
  return setmetatable({ client = client, instance = instance, told = memory(),
    similar = memory(), budgets = memory() }, Recorder)
end

-- -- what is told ---------------------------------------------------------------------------------

--- The reference to an object, or nil and what is wrong with it.
local function reference(object)
  local meta = type(object) == 'table' and object.metadata
  if type(meta) ~= 'table' then return nil, 'an event needs an object with metadata' end
  local wrong = names.check(meta.name)
    or meta.namespace ~= nil and names.check_namespace(meta.namespace)
  if wrong then return nil, wrong end
  return { apiVersion = object.apiVersion, kind = object.kind, name = meta.name,
    namespace = meta.namespace, uid = meta.uid, resourceVersion = meta.resourceVersion }
end

--- Whether the object may have one more: a bucket of so many, filled again by time.
local function take(self, about, now)
  local bucket = self.budgets.get(about) or { left = BURST, at = now }
  bucket.left = math.min(BURST, bucket.left + (now - bucket.at) / REFILL)
  bucket.at = now
  self.budgets.put(about, bucket)
  if bucket.left < 1 then return false end
  bucket.left = bucket.left - 1
  return true
end

--- The message, or the summary where there were many of its kind that differ in their words alone.
local function folded(self, kind, message, now)
  local group = self.similar.get(kind)
  if not group or now - group.at > WINDOW then
    group = { at = now, messages = {}, n = 0 }
    self.similar.put(kind, group)
  end
  if not group.messages[message] and group.n < SIMILAR then
    group.messages[message], group.n = true, group.n + 1
  end
  if group.n < SIMILAR then return message, kind .. '\0' .. message end
  return '(combined from similar events): ' .. message, kind .. '\0'
end

local function time_text() return (clock.text(clock.now()):gsub('%.%d+Z$', 'Z')) end

--- Adds one to the count of an event that is there already. Its words may have changed: a summary's
--- do.
local function count_up(self, entry, message)
  local patch = { count = entry.count + 1, lastTimestamp = time_text(), message = message }
  local object, failure = self.client:patch('events', entry.namespace, entry.name, patch,
    { type = 'merge' })
  if object then entry.count, entry.at = entry.count + 1, clock.monotonic() end
  return object, failure
end

local function create(self, ref, o, message)
  local namespace, now = ref.namespace or 'default', time_text()
  -- Of the object's name as much as leaves room; then what makes it one of its own.
  local name = ('%s.%s'):format(ref.name:sub(1, 230):gsub('[.-]+$', ''), hash.random(8))
  local object, failure = self.client:create('events', namespace, {
    apiVersion = 'v1', kind = 'Event', metadata = { name = name, namespace = namespace },
    involvedObject = ref, type = o.type, reason = o.reason, message = message, action = o.action,
    source = { component = 'perigee' }, reportingComponent = 'perigee',
    reportingInstance = self.instance, firstTimestamp = now, lastTimestamp = now, count = 1 })
  if not object then return nil, failure end
  return { namespace = namespace, name = name, count = 1, at = clock.monotonic() }
end

---@class kubernetes.Event
---@field type? "Normal"|"Warning"  "Normal"
---@field reason string             one word, RestartedByPerigee
---@field message string            at most 1024 bytes are told
---@field action? string            what was done, one word

--- Tells an event of an object. Returns true where it was told, false where there were too many.
---@param object table  with apiVersion, kind, metadata
---@param o kubernetes.Event
---@return boolean? told
---@return kubernetes.Failure? failure
function Recorder:tell(object, o)
  o = { type = o.type or 'Normal', reason = o.reason, action = o.action, message = o.message }
  local ref, wrong = reference(object)
  if not TYPES[o.type] then wrong = 'an event\'s type is Normal or Warning' end
  for _, key in ipairs { 'reason', 'action' } do
    local v = o[key]
    if (v ~= nil or key == 'reason') and not (type(v) == 'string' and #v <= 128
        and v:find '^%u%w*$') then
      wrong = ('an event\'s %s is one word, such as RolledBack'):format(key)
    end
  end
  if type(o.message) ~= 'string' then wrong = 'an event has a message' end
  if wrong then return nil, { kind = 'invalid', unsent = true, message = wrong } end
  local now, about = clock.monotonic(), ref.uid or ref.kind .. '/' .. ref.name
  local kind = table.concat({ about, o.type, o.reason, o.action or '' }, '\0')
  local message, key = folded(self, kind, log.redact(o.message), now)
  message = excerpt.head(message, MAX_MESSAGE)
  if not take(self, about, now) then return false end
  local entry = self.told.get(key)
  if entry and now - entry.at < KEEP then
    local counted, why = count_up(self, entry, message)
    if counted then return true end
    if why.status ~= 404 then return nil, why end -- forgotten there: then it is a new one
  end
  local made, failure = create(self, ref, o, message)
  if not made then return nil, failure end
  self.told.put(key, made)
  return true
end

return events
