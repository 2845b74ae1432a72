--- Watching a collection: its changes as they come, for as long as somebody wants them. Broken
--- connections are taken up where they ended; where the server has forgotten that place (410), all
--- is listed anew, and whoever watches is told so.
local clock = require 'perigee.clock'
local http = require 'http'
local json = require 'perigee.json'
local log = require 'log'
local task = require 'perigee.task'
local transport = require 'kubernetes.transport'

local watch = {}

local SERVER_TIMEOUT = 300 -- seconds after which the server ends a watch by itself
local IDLE = 70            -- bookmarks come about each minute
local MAX_LINE = 4 << 20   -- more than an object can have
local SHORT = 1            -- seconds: a watch that ends sooner is not taken up at once
local LONGEST = 300        -- seconds that a server may have us wait

---@class kubernetes.WatchOptions
---@field resource_version? string  from which on; without it all is listed first
---@field label_selector? string
---@field field_selector? string
---@field idle? number              seconds in which nothing comes, then it is taken up anew; 70

---@class kubernetes.WatchEvent
---@field type string       "LISTED": what there is now, and nothing else; "ADDED", "MODIFIED",
---       "DELETED"; "BOOKMARK": no change, but a place to go on from
---@field object? table     of a change
---@field items? table[]    of LISTED
---@field resource_version? string

--- What no waiting mends: the next attempt would be refused, too.
local function is_final(failure)
  if failure.kind == 'invalid' or failure.kind == 'not_kubernetes' then return true end
  local code = failure.status
  return failure.kind == 'status' and code ~= nil and code >= 400 and code < 500 and code ~= 408
    and code ~= 410 and code ~= 429
end

local CHANGES = { ADDED = true, MODIFIED = true, DELETED = true }

local function version_of(object)
  local meta = type(object.metadata) == 'table' and object.metadata or {}
  return type(meta.resourceVersion) == 'string' and meta.resourceVersion or nil
end

--- One line: passes the event on. Returns false where whoever watches wants no more, or nil and why
--- the watch cannot go on as it is.
local function on_line(self, line)
  local event = json.decode(line)
  if type(event) ~= 'table' or type(event.object) ~= 'table' then
    return nil, { kind = 'reset', message = 'the watch was cut within a line' }
  end
  if event.type == 'ERROR' then return nil, transport.failure_of(event.object) end
  self.resource_version = version_of(event.object) or self.resource_version
  self.attempt = 0
  if event.type == 'BOOKMARK' then
    return self.on_event { type = 'BOOKMARK', resource_version = self.resource_version } ~= false
  end
  if not CHANGES[event.type] then return true end -- of a later version; nothing that we know
  return self.on_event { type = event.type, object = event.object,
    resource_version = self.resource_version } ~= false
end

--- One connection, until it ends. Returns true where it ended in order, false where whoever watches
--- wants no more, nil and a failure else.
local function follow(self)
  local o = self.options
  local request, failure = self.transport:prepare('GET', self.path, { query = { watch = '1',
    allowWatchBookmarks = 'true', timeoutSeconds = SERVER_TIMEOUT,
    resourceVersion = self.resource_version, labelSelector = o.label_selector,
    fieldSelector = o.field_selector } })
  if not request then return nil, failure end
  request.timeout, request.once = nil, nil -- of requests that have an end
  request.max_line, request.idle = MAX_LINE, o.idle or IDLE
  local stream <close>, message, code = http.stream(request)
  if not stream then return nil, transport.no_answer(message, code) end
  for line in stream:lines() do
    local going, why = on_line(self, line)
    if not going then return going, why end
  end
  local _, why, kind = stream:line() -- what ended it; nothing where it ended in order
  if why then return nil, transport.no_answer(why, kind) end
  local response = stream:answer()
  if response.status >= 300 then return nil, transport.refusal(response) end
  return true
end

local function list_anew(self)
  local list, failure = self.client:list(self.resource, self.namespace, self.options)
  if not list then return nil, failure end
  if type(list.resource_version) ~= 'string' then
    return nil, { kind = 'not_kubernetes', message = 'the list has no resourceVersion' }
  end
  self.resource_version = list.resource_version
  return self.on_event { type = 'LISTED', items = list.items,
    resource_version = list.resource_version } ~= false
end

--- Waits before the next attempt: as long as the server says, else with back-off.
local function pause(self, failure)
  self.attempt = self.attempt + 1
  local wait = math.max(http.backoff(self.attempt),
    math.min(failure and failure.retry_after or 0, LONGEST))
  if failure then
    log.debug('a watch is taken up anew', { resource = self.resource, reason = failure.message,
      wait = wait })
  end
  task.sleep(wait)
end

--- A 401 is asked about once more, with credentials that are read anew.
local function renew(self, failure)
  if failure.status ~= 401 or self.renewed then return false end
  self.renewed = true
  self.transport.credentials:renew()
  return true
end

--- Watches until on_event returns false (then true), the caller is cancelled, or what is asked for
--- is refused (nil and the failure).
---@param client kubernetes.Client
---@param path string  of the collection
---@param o kubernetes.WatchOptions
---@param on_event fun(event: kubernetes.WatchEvent): boolean?
---@return boolean? ended
---@return kubernetes.Failure? failure
function watch.run(client, path, resource, namespace, o, on_event)
  local self = { client = client, transport = client.transport, path = path, resource = resource,
    namespace = namespace, options = o, on_event = on_event, attempt = 0,
    resource_version = o.resource_version }
  while true do
    local from, step = clock.monotonic(), self.resource_version and follow or list_anew
    local going, failure = step(self)
    if going == false then return true end
    if going then
      self.renewed = false
      if step == follow and clock.monotonic() - from < SHORT then pause(self) end
    elseif failure.status == 410 then
      -- Listing anew helps; where it does not, it is done ever more rarely.
      self.resource_version = nil
      if self.attempt > 0 then pause(self, failure) else self.attempt = 1 end
    elseif not renew(self, failure) then
      if is_final(failure) then return nil, failure end
      pause(self, failure)
    end
  end
end

return watch
