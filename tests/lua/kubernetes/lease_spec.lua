local async = require 'async'
local clock = require 'perigee.clock'
local fakes = require 'fakes.kubernetes'
local kubernetes = require 'kubernetes'
local log = require 'log'
local support = require 'lua.kubernetes.support'
local task = require 'perigee.task'

local fake, now
local monotonic, sleep, random = clock.monotonic, task.sleep, math.random

before_each(function()
  fake, now = fakes.start { objects = { fakes.deployment 'shop/checkout' } }, 1000
  clock.monotonic = function() return now end
  log.capture(true)
end)
after_each(function()
  clock.monotonic, task.sleep = monotonic, sleep
  rawset(math, 'random', random)
  log.capture(false)
  fake:stop()
end)
teardown(support.tidy)

local function lease_of(holder)
  local k = assert(kubernetes.client { kubeconfig = support.kubeconfig(fake.url) })
  return k:lease { namespace = 'shop', name = 'perigee', holder = holder }
end

local function spec() return fake:get('Lease', 'shop', 'perigee').spec end

describe('kubernetes client:lease', function()
  it('is taken by the first, and kept while it renews', function()
    local a, b = lease_of 'a', lease_of 'b'
    assert.is_false(a:held())
    assert.is_true(a:try())
    assert.is_false(b:try())
    local first = spec()
    assert.same({ 'a', 15, 0 },
      { first.holderIdentity, first.leaseDurationSeconds, first.leaseTransitions })
    assert.matches('^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%d%d%d%dZ$', first.renewTime)
    for _ = 1, 5 do
      now = now + 9
      assert.is_true(a:held())
      assert.is_true(a:try())
      assert.is_false(b:try())
    end
    assert.equal(first.acquireTime, spec().acquireTime)
    assert.equal(0, spec().leaseTransitions)
  end)

  it('is not believed in any longer than it was renewed', function()
    local a = lease_of 'a'
    assert.is_true(a:try())
    fake:fault { path = '/leases', status = 503, times = 100 }
    rawset(math, 'random', function() return 0 end)
    now = now + 9.9
    assert.is_true(a:try()) -- not renewed, but not over yet
    now = now + 0.2
    assert.is_false(a:held())
    assert.is_false(a:try())
    assert.equal(503, a.failure.status)
  end)

  it('goes to another once it has not changed for its time, by the other\'s own clock', function()
    local a, b = lease_of 'a', lease_of 'b'
    assert.is_true(a:try())
    assert.is_false(b:try()) -- sees it now
    now = now + 14
    assert.is_false(b:try())
    now = now + 2
    assert.is_true(b:try())
    assert.same({ 'b', 1 }, { spec().holderIdentity, spec().leaseTransitions })
    assert.is_false(a:try())
    assert.is_false(a:held())
  end)

  it('is lost to whoever was faster', function()
    local a, b = lease_of 'a', lease_of 'b'
    assert.is_true(a:try())
    b:try()
    now = now + 16
    -- Between what b reads and what it writes, a is there again.
    local get = b.client.get
    b.client = setmetatable({ get = function(...)
      local object = get(b.client, select(2, ...))
      assert.is_true(a:try())
      return object
    end }, { __index = b.client })
    assert.is_false(b:try())
    assert.equal(409, b.failure.status)
    assert.equal('a', spec().holderIdentity)
  end)

  it('is let go of, so that another has it at once', function()
    local a, b = lease_of 'a', lease_of 'b'
    assert.is_true(a:try())
    assert.is_true(b:release()) -- not b's to let go of
    assert.equal('a', spec().holderIdentity)
    assert.is_true(a:release())
    assert.is_false(a:held())
    assert.same({ '', 1 }, { spec().holderIdentity, spec().leaseDurationSeconds })
    assert.is_true(b:try())
  end)

  it('tells of changes while it runs', function()
    local a, changes, waits = lease_of 'a', {}, {}
    local changed = async.event()
    task.sleep = function(seconds)
      waits[#waits + 1] = seconds
      now = now + seconds
      sleep(0.001)
    end
    local runner = async.spawn(a.run, a, function(held)
      changes[#changes + 1] = held
      if held then
        fake:put { kind = 'Lease', metadata = { namespace = 'shop', name = 'perigee' },
          spec = { holderIdentity = 'z', leaseDurationSeconds = 15 } }
      else
        changed:set()
      end
    end)
    assert.is_true(changed:wait(5))
    runner:cancel()
    assert.same({ true, false }, changes)
    for _, seconds in ipairs(waits) do assert.is_true(seconds >= 2 and seconds <= 4.4) end
  end)

  it('refuses options that make no sense', function()
    local k = assert(kubernetes.client { kubeconfig = support.kubeconfig(fake.url) })
    assert.has_error(function() k:lease { namespace = 'shop', name = 'perigee' } end)
    assert.has_error(function() k:lease { namespace = 'S', name = 'perigee', holder = 'a' } end)
    assert.has_error(function()
      k:lease { namespace = 'shop', name = 'a', holder = 'a', duration = 10, renew_within = 10 }
    end)
  end)
end)
