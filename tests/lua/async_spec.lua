local async = require 'async'
local clock = require 'perigee.clock'

clock.make_virtual(1000)

local function nothing() end

--- Lets every task that is ready have a turn.
local function turn() async.spawn(nothing):await() end

local function advance(seconds)
  clock.advance(seconds)
  turn()
end

local function failure(f, ...)
  local ok, message = pcall(f, ...)
  assert.is_false(ok)
  return message
end

--- A function that notes its name when it begins, ends and is cancelled.
local function noted(log, name, seconds, result)
  return function()
    log[#log + 1] = name .. ' begins'
    local done = false
    local _ <close> = setmetatable({}, { __close = function()
      if not done then log[#log + 1] = name .. ' is cancelled' end
    end })
    async.sleep(seconds)
    done = true
    log[#log + 1] = name .. ' ends'
    return result
  end
end

describe('async.spawn', function()
  it('starts a task with the next turn, and hands its results to who awaits it', function()
    local started = false
    local t = async.spawn(function(a, b)
      started = true
      return a + b, nil, 'three'
    end, 1, 2)
    assert.is_false(started)
    assert.equal('ready', t:state())
    assert.same({ 3, nil, 'three' }, { t:await() })
    assert.same({ 3, nil, 'three' }, { t:await() })
    assert.equal('done', t:state())
  end)

  it('raises in who awaits it what it has raised', function()
    local t = async.spawn(error, { code = 7 })
    assert.same({ code = 7 }, failure(t.await, t))
    assert.equal('faulted', t:state())
  end)

  it('tells who waits too long, and who waits for a cancelled task', function()
    local t = async.spawn(async.sleep, 60)
    local waiter = async.spawn(t.await, t, 5)
    turn()
    advance(5)
    assert.same({ nil, 'timeout' }, { waiter:await() })
    t:cancel()
    assert.same({ nil, 'cancelled' }, { t:await() })
    assert.equal('cancelled', t:state())
    t:cancel()
  end)

  it('refuses to wait for oneself, or to cancel oneself', function()
    local t
    t = async.spawn(function() return failure(t.await, t), failure(t.cancel, t) end)
    local awaits, cancels = t:await()
    assert.matches('a task cannot await itself', awaits)
    assert.matches('a task cannot cancel itself', cancels)
  end)
end)

describe('async.sleep', function()
  it('waits as long as asked for, and lets the others go on', function()
    local log = {}
    async.spawn(noted(log, 'long', 10))
    async.spawn(noted(log, 'short', 5))
    turn()
    advance(4.999)
    assert.same({ 'long begins', 'short begins' }, log)
    advance(0.001)
    advance(5)
    assert.same({ 'long begins', 'short begins', 'short ends', 'long ends' }, log)
  end)

  it('refuses what is no time', function()
    assert.matches('seconds between 0 and 1e9 expected', failure(async.sleep, -1))
    assert.matches('seconds between 0 and 1e9 expected', failure(async.sleep, 0 / 0))
    assert.matches('number expected', failure(async.sleep, '5m'))
  end)
end)

describe('async.event', function()
  it('is waited for until it is set, then by nobody until it is cleared', function()
    local event, woken = async.event(), 0
    for _ = 1, 3 do
      async.spawn(function()
        event:wait()
        woken = woken + 1
      end)
    end
    turn()
    assert.equal(0, woken)
    event:set()
    turn()
    assert.equal(3, woken)
    assert.is_true(event:wait())
    event:clear()
    local late = async.spawn(event.wait, event, 1)
    turn()
    advance(1)
    assert.is_false(late:await())
  end)
end)

describe('async.all', function()
  it('gives the first result of each, by position', function()
    local t = async.spawn(async.all, { function() async.sleep(2) return 'a', 'b' end, nothing,
      function() return 'c' end })
    turn()
    advance(2)
    assert.same({ 'a', nil, 'c' }, t:await())
    assert.same({}, async.all {})
  end)

  it('has no more under way than its limit', function()
    local log = {}
    local t = async.spawn(async.all, { noted(log, 'a', 1, 1), noted(log, 'b', 2, 2),
      noted(log, 'c', 1, 3) }, 2)
    turn()
    assert.same({ 'a begins', 'b begins' }, log)
    advance(1)
    assert.same({ 'a begins', 'b begins', 'a ends', 'c begins' }, log)
    advance(1)
    assert.same({ 1, 2, 3 }, t:await())
    assert.matches('async_spec.lua:%d+: async.all: the limit is at least 1$',
      failure(function() local r = async.all({ nothing }, 0) return r end))
  end)

  it('raises what the first to fail has raised, at once, and cancels the others', function()
    local log = {}
    local t = async.spawn(async.all, { noted(log, 'a', 60),
      function() async.sleep(1) error 'broken' end })
    turn()
    advance(1)
    assert.equal('faulted', t:state())
    assert.matches('async_spec.lua:%d+: broken$', failure(t.await, t))
    assert.same({ 'a begins', 'a is cancelled' }, log)
  end)

  it('is cancelled as a whole', function()
    local log = {}
    local t = async.spawn(async.all, { noted(log, 'a', 60), noted(log, 'b', 60) })
    turn()
    t:cancel()
    assert.same({ 'a begins', 'b begins', 'a is cancelled', 'b is cancelled' }, log)
  end)
end)

describe('async.any', function()
  it('tells whose the first result was, and cancels the others', function()
    local log = {}
    local t = async.spawn(async.any, { noted(log, 'slow', 60),
      function() async.sleep(1) return 'x', 'y' end })
    turn()
    advance(1)
    assert.same({ 2, 'x', 'y' }, { t:await() })
    assert.same({ 'slow begins', 'slow is cancelled' }, log)
  end)

  it('counts a failure as an end', function()
    assert.matches('broken$', failure(async.any, { function() error 'broken' end, nothing }))
  end)

  it('lets the first in the list win of those that end in one turn', function()
    assert.same({ 1, 'a' },
      { async.any { function() return 'a' end, function() return 'b' end } })
  end)

  it('refuses to wait for nothing, which would be for ever', function()
    assert.matches('async_spec.lua:%d+: async.any: there is no function to wait for$',
      failure(function() local i = async.any {} return i end))
  end)

  it('is cancelled as a whole', function()
    local log = {}
    local t = async.spawn(async.any, { noted(log, 'a', 60) })
    turn()
    t:cancel()
    assert.same({ 'a begins', 'a is cancelled' }, log)
  end)
end)

describe('async.timeout', function()
  it('gives the results where they come in time', function()
    local function same(...) return ... end
    assert.same({ 'a', nil, 'b' }, { async.timeout(5, same, 'a', nil, 'b') })
    assert.same({ nil, 'timeout' }, { async.timeout(5, function() return nil, 'timeout' end) })
    assert.matches('broken$', failure(async.timeout, 5, function() error 'broken' end))
  end)

  it('cancels what takes longer', function()
    local log = {}
    local t = async.spawn(async.timeout, 5, noted(log, 'a', 60))
    turn()
    turn()
    advance(5)
    assert.same({ nil, 'timeout' }, { t:await() })
    assert.same({ 'a begins', 'a is cancelled' }, log)
  end)

  it('is cancelled with what it runs', function()
    local log = {}
    local t = async.spawn(async.timeout, 5, noted(log, 'a', 60))
    turn()
    turn()
    t:cancel()
    assert.same({ 'a begins', 'a is cancelled' }, log)
  end)
end)

describe('async.gate', function()
  it('lets n in at a time, in order', function()
    local log, gate = {}, async.gate(2)
    for _, name in ipairs { 'a', 'b', 'c', 'd' } do
      async.spawn(gate.run, gate, noted(log, name, 1))
    end
    turn()
    assert.same({ 'a begins', 'b begins' }, log)
    advance(1)
    turn()
    assert.same({ 'a begins', 'b begins', 'a ends', 'b ends', 'c begins', 'd begins' }, log)
    advance(1)
    assert.equal('free', gate:run(function(x) return x end, 'free'))
  end)

  it('is left by who fails', function()
    local gate = async.gate(1)
    assert.matches('broken$', failure(gate.run, gate, function() error 'broken' end))
    assert.equal(7, gate:run(function() return 7 end))
  end)

  it('is left by who is cancelled inside', function()
    local log, gate = {}, async.gate(1)
    local a = async.spawn(gate.run, gate, noted(log, 'a', 60))
    local b = async.spawn(gate.run, gate, function() return 'b was let in' end)
    turn()
    a:cancel()
    assert.equal('b was let in', b:await())
  end)

  it('forgets who is cancelled while it waits', function()
    local log, gate = {}, async.gate(1)
    async.spawn(gate.run, gate, noted(log, 'a', 1))
    local b = async.spawn(gate.run, gate, noted(log, 'b', 1))
    local c = async.spawn(gate.run, gate, noted(log, 'c', 1))
    turn()
    b:cancel()
    advance(1)
    turn()
    assert.same({ 'a begins', 'a ends', 'c begins' }, log)
    advance(1)
    assert.equal('done', c:state())
    assert.equal(7, gate:run(function() return 7 end))
  end)

  it('takes back the place of who is cancelled when it has just been handed one', function()
    local log, gate, b = {}, async.gate(1), nil
    async.spawn(function()
      gate:run(function() async.sleep(1) end)
      b:cancel()
    end)
    b = async.spawn(gate.run, gate, noted(log, 'b', 1))
    local c = async.spawn(gate.run, gate, function() return 'c was let in' end)
    turn()
    advance(1)
    assert.equal('c was let in', c:await())
    assert.same({}, log)
  end)
end)
