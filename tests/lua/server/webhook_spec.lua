require 'fakes.daemon' -- before what requires the real one
local alerts = require 'engine.alerts'
local async = require 'async'
local clock = require 'perigee.clock'
local json = require 'perigee.json'
local log = require 'perigee.log'
local routes = require 'server.routes'
local store = require 'perigee.store'
local support = require 'lua.engine.support'

support.still()

local TOKENS = { tokens = {
  { name = 'am', role = 'alert_sender', token_file = 'f' },
  { name = 'anna', role = 'approver', token_file = 'f' },
  { name = 'adam', role = 'admin', token_file = 'f' },
} }

local PATH <const> = '/api/v1/webhook/alertmanager'

--- One alert as Alertmanager 0.25 writes it, with what the test sets.
local function alert(set)
  local a = { status = 'firing', labels = { alertname = 'HighErrorRate', app = 'checkout' },
    annotations = { summary = 'errors' }, startsAt = '2023-11-14T22:13:20.123456789Z',
    endsAt = '0001-01-01T00:00:00Z', generatorURL = 'http://prometheus/graph',
    fingerprint = '0c684ac851afbf93' }
  for k, v in pairs(set or {}) do a[k] = v ~= 'none' and v or nil end
  return a
end

local function body(list, set)
  local b = { version = '4', status = 'firing', receiver = 'hook', groupKey = '{}:{}',
    groupLabels = {}, commonLabels = {}, commonAnnotations = {}, externalURL = 'http://am:9093',
    truncatedAlerts = 0, alerts = json.array(list) }
  for k, v in pairs(set or {}) do b[k] = v ~= 'none' and v or nil end
  return b
end

local function world(o)
  o = o or {}
  local engine = support.engine { rules = o.rules, config = { auth = o.auth or TOKENS },
    path = o.path, store = o.store }
  local handle = routes.handler(engine)
  local w = { engine = engine, pokes = 0 }
  function engine.poke() w.pokes = w.pokes + 1 end

  --- Sends a body; returns the status and the decoded answer.
  function w.send(what, who, path)
    local response = handle { method = what and 'POST' or 'GET', path = path or PATH, query = '',
      peer = '127.0.0.1', body = type(what) == 'table' and json.encode(what) or what or '',
      headers = { host = 'localhost', ['content-type'] = 'application/json',
        authorization = who ~= 'nobody' and 'Bearer secret-of-' .. (who or 'am') or nil } }
    return response.status, json.decode(response.body)
  end
  return w
end

--- A store whose transactions are the test's.
local function in_place_of(real, transaction)
  return setmetatable({ transaction = transaction }, { __index = function(_, name)
    return function(_, ...) return real[name](real, ...) end
  end })
end

describe('the webhook', function()
  after_each(support.tidy)

  it('keeps each occurrence of an alert once, through firing and resolved', function()
    local w = world()
    local function outcome(a)
      local status, answer = w.send(body { a })
      assert.equal(200, status)
      local d = answer.data
      assert.equal(1, d.received)
      return d.stored == 1 and 'stored' or d.repeated == 1 and 'repeated'
        or d.resolved == 1 and 'resolved' or d.duplicate == 1 and 'duplicate'
    end
    local over = alert { status = 'resolved', endsAt = '2023-11-14T22:20:00Z' }
    assert.equal('stored', outcome(alert()))
    assert.equal('repeated', outcome(alert()))
    assert.equal('repeated', outcome(alert { startsAt = '2023-11-14T23:13:20.123456789+01:00' }))
    assert.equal('resolved', outcome(over))
    assert.equal('duplicate', outcome(over))
    assert.equal('duplicate', outcome(alert())) -- late
    assert.equal('stored', outcome(alert { startsAt = '2023-11-14T22:30:00Z' }))
    local _, answer = w.send(nil, 'adam', '/api/v1/webhook/alerts')
    assert.equal(2, #answer.data)
    assert.same({ fingerprint = '0c684ac851afbf93', status = 'resolved',
      labels = { alertname = 'HighErrorRate', app = 'checkout' },
      annotations = { summary = 'errors' }, generator_url = 'http://prometheus/graph',
      starts_at = '2023-11-14T22:13:20.123Z', ends_at = '2023-11-14T22:20:00.000Z',
      received_at = clock.text(clock.now()), seen_at = clock.text(clock.now()) }, answer.data[2])
    assert.equal('firing', answer.data[1].status)
  end)

  it('goes by each alert, not by the group', function()
    local w = world()
    local status, answer = w.send(body({ alert(),
      alert { status = 'resolved', fingerprint = ('a'):rep(16), endsAt = '2023-11-14T22:20:00Z' } },
      { truncatedAlerts = 3 }))
    assert.equal(200, status)
    assert.same({ received = 2, stored = 2, repeated = 0, resolved = 0, duplicate = 0,
      truncated = 3 }, answer.data)
    assert.equal(1, #alerts.firing(w.engine.store, 'HighErrorRate'))
    assert.equal(1, #alerts.list(w.engine.store, 10, 'resolved'))
  end)

  it('is for senders of alerts, and for nobody where there are no tokens', function()
    local w = world()
    assert.equal(401, (w.send(body { alert() }, 'nobody')))
    assert.equal(403, (w.send(body { alert() }, 'anna')))
    assert.equal(200, (w.send(body { alert() }, 'adam')))
    assert.equal(403, (w.send(nil, 'am', '/api/v1/webhook/alerts')))
    assert.equal(403, (world { auth = { tokens = {} } }.send(body { alert() }, 'nobody')))
  end)

  it('knows the person who has sent an alert, who is not to approve what comes of it', function()
    local w = world()
    w.send(body { alert() }, 'adam')
    w.send(body { alert { fingerprint = ('a'):rep(16) } }, 'am')
    local senders = {}
    for _, row in ipairs(alerts.list(w.engine.store, 10)) do senders[#senders + 1] = row.sender end
    assert.same({ '', 'adam' }, senders)
  end)

  it('takes what newer senders add, and no more than one mistake to refuse', function()
    local w = world()
    assert.equal(200, (w.send(body({ alert { extra = 1 } },
      { notification_reason = 'first notification', routeLabels = {} }))))
    assert.equal(200, (w.send(body {})))
    local long = { name = ('x'):rep(5000), ['0 any.name'] = '"\n<b>' }
    assert.equal(200, (w.send(body { alert { labels = long, generatorURL = 'none',
      annotations = 'none', endsAt = 'none' } })))
    for message, wrong in pairs {
      ['the body.version: expected "4", not "3"'] = body({}, { version = '3' }),
      ['the body.version is missing'] = body({}, { version = 'none' }),
      ['the body.alerts: expected a list, not "x"'] = body({}, { alerts = 'x' }),
      ['the body.status: expected one of firing, resolved, not "odd"'] =
        body({}, { status = 'odd' }),
      ['the body.truncatedAlerts: expected a number of alerts, not -1'] =
        body({}, { truncatedAlerts = -1 }),
      ['the body.groupLabels: a: expected a text, not 1'] = body({}, { groupLabels = { a = 1 } }),
      ['alerts[1]: expected an object, not 5'] = body { 5 },
      ['alerts[2].status is missing'] = body { alert(), alert { status = 'none' } },
      ['alerts[1].labels: there is no label'] = body { alert { labels = {} } },
      ['alerts[1].labels: a: expected a text, not a table'] =
        body { alert { labels = { a = {} } } },
      ['alerts[1].startsAt: expected a time such as "2026-01-01T00:00:00Z", not "yesterday"'] =
        body { alert { startsAt = 'yesterday' } },
      ['alerts[1].startsAt is missing'] = body { alert { startsAt = '0001-01-01T00:00:00Z' } },
      ['alerts[1].endsAt: expected a time such as "2026-01-01T00:00:00Z", not '
        .. '"2026-13-01T00:00:00Z"'] = body { alert { endsAt = '2026-13-01T00:00:00Z' } },
      ['alerts[1].fingerprint: expected 16 hexadecimal digits, not "1 or 1"'] =
        body { alert { fingerprint = '1 or 1' } },
      ['alerts[1].generatorURL: expected a text, not true'] =
        body { alert { generatorURL = true } },
    } do
      local status, answer = w.send(wrong)
      assert.equal(400, status)
      assert.equal(message, answer.error)
    end
    assert.equal(400, (w.send '{'))
    assert.equal(400, (w.send '[]'))
    assert.equal(400, (w.send(body(json.decode(('[%s]'):format(('1,'):rep(10000) .. '1'))))))
  end)

  it('stores what comes together in one transaction, and answers each by its own', function()
    local w = world()
    local transactions, real = 0, w.engine.store
    w.engine.store = in_place_of(real, function(_, f)
      transactions = transactions + 1
      return real:transaction(f)
    end)
    local tasks = {}
    for i = 1, 20 do
      tasks[i] = async.spawn(function()
        return select(2, w.send(body { alert { fingerprint = ('%016x'):format(i // 2) } }))
      end)
    end
    local stored = 0
    for i = 1, 20 do stored = stored + tasks[i]:await().data.stored end
    assert.equal(11, stored)
    assert.equal(1, transactions)
  end)

  it('is asked again when the store cannot take it', function()
    local w = world()
    local real = w.engine.store
    w.engine.store = in_place_of(real, function() error 'disk full' end)
    local status, answer = w.send(body { alert() })
    assert.equal(503, status)
    assert.equal('unavailable', answer.errorType)
    w.engine.store = real
    local most = alerts.MOST
    alerts.MOST = 2
    assert.equal(200, (w.send(body { alert() })))
    assert.equal(503, (w.send(body { alert(), alert { fingerprint = ('b'):rep(16) } })))
    alerts.MOST = most
  end)

  it('may end where there is no room for more, and that makes room', function()
    local w, most = world(), alerts.MOST
    finally(function() alerts.MOST = most end)
    alerts.MOST = 1
    local another = alert { fingerprint = ('b'):rep(16) }
    assert.equal(200, (w.send(body { alert() })))
    assert.equal(503, (w.send(body { another })))
    assert.equal(1, select(2, w.send(body { alert() })).data.repeated)
    assert.equal(1, select(2, w.send(body { alert { status = 'resolved' } })).data.resolved)
    clock.advance(1)
    alerts.expire(w.engine)
    assert.equal(200, (w.send(body { another })))
  end)

  it('with a fingerprint that is not its labels\' is told of once a minute', function()
    local w = world()
    local function told(n)
      log.capture(true)
      for i = 1, n do
        assert.equal(200, (w.send(body { alert { fingerprint = ('%016x'):format(i) } })))
      end
      return log.capture(false):match 'not their labels.-alerts=(%d+)'
    end
    assert.equal('1', told(5))
    clock.advance(59)
    assert.is_nil(told(5))
    clock.advance(1)
    assert.equal('10', told(1))
  end)

  it('is on the disk when it has been answered', function()
    local path = support.folder() .. '/perigee.db'
    local w = world { path = path }
    assert.equal(200, (w.send(body { alert() })))
    local other = assert(store.open(path))
    assert.equal(1, #alerts.firing(other, 'HighErrorRate'))
    other:close()
  end)

  it('knows that what was not repeated for longer than Alertmanager remembers is over', function()
    local w = world()
    w.send(body { alert(), alert { status = 'resolved', fingerprint = ('a'):rep(16) } })
    clock.advance(alerts.EXPIRY - 10)
    w.send(body { alert { fingerprint = ('b'):rep(16) } })
    clock.advance(20)
    alerts.expire(w.engine)
    assert.equal(1, #alerts.list(w.engine.store, 10, 'expired'))
    assert.equal(0, #alerts.list(w.engine.store, 10, 'resolved')) -- forgotten
    assert.equal(1, #alerts.firing(w.engine.store, 'HighErrorRate'))
    local _, answer = w.send(body { alert() })
    assert.equal(1, answer.data.repeated)
    assert.equal(2, #alerts.firing(w.engine.store, 'HighErrorRate'))
  end)
end)
