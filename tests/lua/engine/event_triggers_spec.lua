local async = require 'async'
local clock = require 'perigee.clock'
local event_triggers = require 'engine.event_triggers'
local fake = require 'fakes.kubernetes'
local kubernetes = require 'kubernetes'
local kubernetes_support = require 'lua.kubernetes.support'
local log = require 'log'
local plans = require 'engine.plans'
local support = require 'lua.engine.support'
local triggers = require 'engine.triggers'

log.capture(true)

local RULES = [[
playbook "p" { when = kubernetes_event { reason = "BackOff", kind = "Pod", message = "restarting",
    namespace = "shop" },
  trust = "recommend", plan = function(e)
    return { http.request { method = "POST", url = "http://shop/", body = e.labels.pod .. " "
      .. e.labels.namespace .. " " .. e.annotations.message .. " " .. e.value .. " " .. e.source } }
  end }
]]

local server, store_path, engine

local function start()
  engine = support.engine { rules = RULES, path = store_path }
  engine.kubernetes = assert(kubernetes.client {
    kubeconfig = kubernetes_support.kubeconfig(server.url) })
  engine.stopping = nil
  triggers.start(engine)
end

local function stop()
  engine.stopping = true
  triggers.stop(engine)
  engine.store:close()
end

before_each(function()
  server, store_path = fake.start(), support.folder() .. '/perigee.db'
end)
after_each(function()
  server:stop()
  support.tidy()
end)

local n = 0

--- Puts an event; one of the same name is counted again.
local function happens(set)
  n = n + 1
  local now = clock.text(clock.now() + n):gsub('%.%d+Z', 'Z')
  local object = { kind = 'Event', metadata = { name = 'event-' .. n, namespace = 'shop' },
    involvedObject = { kind = 'Pod', namespace = 'shop', name = 'checkout-1' }, reason = 'BackOff',
    type = 'Warning', message = 'Back-off restarting failed container', count = 1,
    firstTimestamp = now, lastTimestamp = now, source = { component = 'kubelet' } }
  for k, v in pairs(set or {}) do object[k] = v end
  return server:put(object)
end

--- Waits until there are so many plans, and a little to see whether there are more.
local function asked(wanted)
  local from = clock.monotonic()
  repeat
    async.sleep(0.02)
    triggers.look(engine)
    local list = plans.list(engine.store, 100)
    if #list >= wanted then
      local out = {}
      for i, p in ipairs(list) do out[i] = p.actions[1].args.body end
      table.sort(out)
      return out
    end
  until clock.monotonic() - from > 5
  error(('%d plans in vain waited for'):format(wanted))
end

--- The place from which it goes on is that of an event which nobody waits for.
local function is_seen(object)
  local version = server:get('Event', 'shop', object.metadata.name).metadata.resourceVersion
  local from = clock.monotonic()
  repeat
    async.sleep(0.02)
    local row = engine.store:row "select value from settings where name = 'kubernetes_events/shop'"
    if row and tonumber(row.value:match '"version":"(%d+)"') >= tonumber(version) then return end
  until clock.monotonic() - from > 5
  error 'an event was waited for in vain'
end

local WORDS <const> = 'checkout-1 shop Back-off restarting failed container %d kubelet'

local function words(count) return (WORDS:gsub('kubelet', 'kubernetes')):format(count) end

describe('an event of Kubernetes', function()
  it('is a trigger once, and once more when it is counted again', function()
    happens() -- before the first start
    start()
    is_seen(happens { reason = 'Other' })
    local event = happens()
    assert.same({ words(1) }, asked(1))
    happens { metadata = event.metadata, count = 2 }
    assert.same({ words(1), words(2) }, asked(2))
    happens { type = 'Normal' }
    happens { message = 'Back-off pulling image' }
    happens { involvedObject = { kind = 'Job', namespace = 'shop', name = 'a' } }
    happens { source = { component = 'perigee' } }
    is_seen(happens { reason = 'Other' })
    assert.equal(2, #asked(2))
    stop()
  end)

  it('that comes while nothing runs is one later, also where the place is forgotten', function()
    start()
    is_seen(happens { reason = 'Other' })
    stop()
    happens()
    start()
    assert.equal(1, #asked(1))
    stop()
    happens()
    server:fault { method = 'GET', path = '/events', status = 410, reason = 'Expired' }
    start()
    assert.equal(2, #asked(2))
    is_seen(happens { reason = 'Other' })
    assert.equal(2, #asked(2))
    stop()
  end)

  it('about which nobody could be asked for long is left out', function()
    start()
    is_seen(happens())
    engine.store:exec 'update occurrences set at = at - 700'
    event_triggers.look(engine)
    assert.equal(0, #plans.list(engine.store, 10))
    stop()
  end)

  it('floods nobody', function()
    start()
    is_seen(happens { reason = 'Other' })
    for _ = 1, 30 do happens() end
    assert.equal(30, #asked(30))
    assert.equal(30, engine.store:row('select count(*) as n from occurrences').n)
    stop()
  end)
end)
