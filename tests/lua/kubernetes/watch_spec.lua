local async = require 'async'
local fakes = require 'fakes.kubernetes'
local http = require 'http'
local json = require 'json'
local kubernetes = require 'kubernetes'
local log = require 'log'
local support = require 'lua.kubernetes.support'

local answer, status, with = support.answer, support.status, support.with

-- How long is waited is noted instead of waited, each as long as it may be.
local task = require 'perigee.task'
local sleep, random, waits = task.sleep, math.random, nil
before_each(function()
  waits = {}
  task.sleep = function(seconds)
    waits[#waits + 1] = seconds
    async.turn()
  end
  rawset(math, 'random', function() return 1 end)
end)
after_each(function()
  task.sleep = sleep
  rawset(math, 'random', random)
end)
teardown(support.tidy)

local function pod(name, version)
  return { kind = 'Pod', metadata = { name = name, resourceVersion = version } }
end

local function line(kind, object) return json.encode { type = kind, object = object } .. '\n' end

--- An answer of lines.
local function lines(...) return { body = table.concat { ... } } end

local function list(version, ...)
  return answer { kind = 'PodList', apiVersion = 'v1', metadata = { resourceVersion = version },
    items = json.array { ... } }
end

--- Watches against a server with these answers until `n` events are there: they, as texts, and what
--- was asked.
local function watch(n, answers, options)
  local out, asked_of, result, why = {}, nil, nil, nil
  with(answers, function(k, asked)
    asked_of = asked
    result, why = k:watch('pods', 'shop', options, function(e)
      local what = e.object and e.object.metadata.name or e.items and #e.items or ''
      out[#out + 1] = ('%s %s %s'):format(e.type, what, e.resource_version)
      return #out < n
    end)
  end)
  return out, asked_of, result, why
end

local function versions(asked)
  local out = {}
  for i, r in ipairs(asked) do
    local query = http.parse_form(r.query)
    out[i] = query.watch and 'watch ' .. tostring(query.resourceVersion) or 'list'
  end
  return out
end

describe('kubernetes client:watch', function()
  it('lists, and then follows the changes from there, with bookmarks', function()
    local events, asked, result = watch(5, { list('10', pod('a', '9')),
      lines(line('ADDED', pod('b', '11')), line('MODIFIED', pod('b', '12')),
        line('BOOKMARK', pod(nil, '20')), line('DELETED', pod('b', '21'))) },
      { label_selector = 'app=a' })
    assert.same({ 'LISTED 1 10', 'ADDED b 11', 'MODIFIED b 12', 'BOOKMARK  20', 'DELETED b 21' },
      events)
    assert.is_true(result)
    local query = http.parse_form(asked[2].query)
    assert.equal('/api/v1/namespaces/shop/pods', asked[2].path)
    assert.same({ watch = '1', allowWatchBookmarks = 'true', timeoutSeconds = '300',
      resourceVersion = '10', labelSelector = 'app=a' }, query)
    assert.equal('app=a', http.parse_form(asked[1].query).labelSelector)
  end)

  it('goes on where it was when a watch ends, in order or within a line', function()
    local events, asked = watch(3, { lines(line('ADDED', pod('a', '11'))),
      lines(line('BOOKMARK', pod(nil, '15')), line('ADDED', pod('b', '16')):sub(1, 20)),
      lines(line('ADDED', pod('b', '16'))) }, { resource_version = '10' })
    assert.same({ 'ADDED a 11', 'BOOKMARK  15', 'ADDED b 16' }, events)
    assert.same({ 'watch 10', 'watch 11', 'watch 15' }, versions(asked))
    assert.same({ 0.25, 0.25 }, waits) -- both ended at once
  end)

  it('lists anew where the server has forgotten, by status or by a line', function()
    local gone = { kind = 'Status', code = 410, reason = 'Expired', message = 'too old' }
    for _, first in ipairs { lines(line('ERROR', gone)), status(410, 'Expired', 'too old') } do
      local events, asked = watch(2, { first, list('50', pod('a', '9'), pod('b', '8')),
        lines(line('ADDED', pod('c', '51'))) }, { resource_version = '1' })
      assert.same({ 'LISTED 2 50', 'ADDED c 51' }, events)
      assert.same({ 'watch 1', 'list', 'watch 50' }, versions(asked))
      assert.same({}, waits)
    end
    -- A server that forgets at once again and again is asked ever more rarely.
    watch(5, function(r)
      return r.query:find 'watch=1' and lines(line('ERROR', gone)) or list '5'
    end)
    assert.same({ 0.5, 1, 2 }, waits)
  end)

  it('waits as long as an error says, and comes back after all that passes', function()
    log.capture(true) -- the server tells of the answer that it is made to cut
    local events, asked = watch(1, {
      lines(line('ERROR', { kind = 'Status', code = 504, reason = 'Timeout', message = 'later',
        details = { retryAfterSeconds = 7 } })),
      status(503, 'ServiceUnavailable', 'no'),
      { stream = function() error 'cut' end },
      lines(line('ADDED', pod('a', '11'))) }, { resource_version = '10' })
    log.capture(false)
    assert.same({ 'ADDED a 11' }, events)
    assert.same({ 'watch 10', 'watch 10', 'watch 10', 'watch 10' }, versions(asked))
    assert.same({ 7, 0.5, 1 }, waits)
  end)

  it('gives up where the next attempt would be refused, too', function()
    for _, code in ipairs { 400, 403, 404 } do
      local events, asked, result, why = watch(1, status(code, 'No', 'no'))
      assert.same({ {}, 1, code }, { events, #asked, why.status })
      assert.is_nil(result)
    end
    local _, _, _, why = watch(1, lines(line('ERROR', { kind = 'Status', code = 403,
      message = 'no' })), { resource_version = '1' })
    assert.equal(403, why.status)
    assert.equal('not_kubernetes', select(4, watch(1, list(nil))).kind)
    with(answer {}, function(k, asked)
      assert.equal('invalid', select(2, k:watch('pods', 'No', nil, print)).kind)
      assert.equal(0, #asked)
    end)
  end)

  it('asks once more after a 401', function()
    local events, asked = watch(1, { status(401, 'Unauthorized', 'Unauthorized'),
      lines(line('ADDED', pod('a', '11'))) }, { resource_version = '10' })
    assert.same({ 'ADDED a 11' }, events)
    assert.equal(2, #asked)
    local _, again, _, why = watch(1, status(401, 'Unauthorized', 'Unauthorized'),
      { resource_version = '10' })
    assert.same({ 2, 401 }, { #again, why.status })
  end)

  it('takes up anew what has fallen silent', function()
    local released = async.event()
    local events, asked = watch(2, function(_, n)
      if n > 1 then return lines(line('ADDED', pod('b', '12'))) end
      return { stream = function(send)
        send(line('ADDED', pod('a', '11')))
        released:wait(5)
      end }
    end, { resource_version = '10', idle = 0.1 })
    released:set()
    assert.same({ 'ADDED a 11', 'ADDED b 12' }, events)
    assert.same({ 'watch 10', 'watch 11' }, versions(asked))
  end)

  it('ends with the task that watches, and hangs up', function()
    local gone = async.event()
    with(function()
      return { stream = function(send)
        while send(line('BOOKMARK', pod(nil, '1'))) do sleep(0.01) end
        gone:set()
      end }
    end, function(k)
      local seen = async.event()
      local watcher = async.spawn(k.watch, k, 'pods', 'shop', { resource_version = '1' },
        function() seen:set() end)
      assert.is_true(seen:wait(5))
      watcher:cancel()
      assert.is_true(gone:wait(5))
    end)
  end)

  it('sees what happens in a cluster, and goes on after the server has started anew', function()
    local fake = fakes.start { objects = { fakes.deployment('shop/checkout', { replicas = 1 }) } }
    local k = assert(kubernetes.client { kubeconfig = support.kubeconfig(fake.url) })
    local seen, changed = {}, async.event()
    local watcher = async.spawn(k.watch, k, 'deployments', 'shop', nil, function(e)
      local object = e.object or e.items and e.items[1]
      seen[#seen + 1] = ('%s %s'):format(e.type, object and object.spec.replicas or '')
      changed:set()
    end)
    local function wait_for(what) -- a pattern
      for _ = 1, 200 do
        for _, one in ipairs(seen) do
          if one:find(what) then return true end
        end
        changed:clear()
        changed:wait(0.05)
      end
      return table.concat(seen, ', ')
    end
    local function scale(n)
      assert(k:patch('deployments', 'shop', 'checkout', { spec = { replicas = n } },
        { type = 'merge' }))
    end
    assert.is_true(wait_for 'LISTED 1')
    scale(2)
    assert.is_true(wait_for 'MODIFIED 2')
    fake:restart()
    scale(3)
    assert.is_true(wait_for '^%u+ 3$') -- a change, or listed anew behind it
    local listed = 0
    for _, one in ipairs(seen) do listed = listed + (one:find '^LISTED' and 1 or 0) end
    assert.equal(2, listed)
    assert(k:delete('deployments', 'shop', 'checkout'))
    assert.is_true(wait_for 'DELETED 3')
    watcher:cancel()
    fake:stop()
  end)
end)
