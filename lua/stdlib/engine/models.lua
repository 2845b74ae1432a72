--- Baselines: learned from the source's history, one a series, kept in the store with the digest of
--- the query and detector that they were learned for, learned anew on schedule while the old ones
--- serve.
local async = require 'async'
local clock = require 'perigee.clock'
local json = require 'perigee.json'
local label_key = require('prometheus').label_key
local log = require 'log'
local metrics = require 'engine.metrics'

local models = {}

local AGAIN = 60      -- seconds until a failed attempt is repeated
-- how fresh models may be and still be learned anew for series they do not know
local NEW_SERIES = 600

-- Series whose models are written in one transaction.
local BATCH = 16

--- The models of one signal as the store has them, by the series' key: each is read when it is
--- asked for first, so that a restart costs no more than what is judged.
local function stored(store, name, digest, fitted_at)
  local found = { digest = digest, fitted_at = fitted_at, known = {} }
  for _, row in ipairs(store:rows([[select series from series_models
    where signal = ? and digest = ? and fitted_at = ?]], name, digest, fitted_at)) do
    found.known[row.series] = true
  end
  found.by_series = setmetatable({}, { __index = function(by_series, key)
    if not found.known[key] then return nil end
    local row = store:row([[select model from series_models
      where signal = ? and digest = ? and fitted_at = ? and series = ?]], name, digest, fitted_at,
      key)
    if not row then return { missing = 'it is being learned anew' } end
    by_series[key] = json.decode(row.model)
    return by_series[key]
  end })
  return found
end

---@param store perigee.Store
---@param source table      a Prometheus client
---@return table keeper
function models.keeper(store, source)
  local cache, busy, retry_at = {}, {}, {}
  local gate = async.gate(2) -- a history can be large
  local keeper = {}

  local function load(name, digest)
    local cached = cache[name]
    if cached and cached.digest == digest then return cached end
    local row = store:row('select digest, fitted_at from models where signal = ?', name)
    if not row or row.digest ~= digest then return nil end
    cache[name] = stored(store, name, digest, row.fitted_at)
    return cache[name]
  end

  --- The end of a history lies on a multiple of the step, so that what is learned does not depend
  --- on the moment at which it was asked for.
  local function fetch(def, now, expected)
    local h = def.detector.history
    local stop = now // h.step * h.step
    local series, failure = source:query_range(def.query, stop - h.range, stop, h.step,
      expected)
    if not series then return nil, 'the history cannot be read: ' .. failure.message end
    if series.partial then return nil, 'the history is incomplete' end
    return series
  end

  local function write(def, now, batch)
    store:relaxed(function()
      for _, item in ipairs(batch) do
        store:exec('insert or replace into series_models values (?, ?, ?, ?, ?)', def.name,
          def.model_digest, now, item.key, item.model)
      end
    end)
  end

  --- Makes the models that were written as of `now` those of the signal.
  local function switch(def, now)
    store:relaxed(function()
      store:exec('insert or replace into models (signal, digest, fitted_at) values (?, ?, ?)',
        def.name, def.model_digest, now)
      store:exec([[delete from series_models
        where signal = ? and not (digest = ? and fitted_at = ?)]], def.name, def.model_digest, now)
    end)
    return stored(store, def.name, def.model_digest, now)
  end

  --- Learns from the history, one series after the other: what has been learned goes to the store
  --- and not to memory, and the old models are in force until all is there.
  local function fit(def, now, expected)
    local series, message = fetch(def, now, expected)
    if not series then return nil, message end
    local batch = {}
    for i, s in ipairs(series) do
      s.labels.__name__ = nil
      local model, why = def.detector.fit(s.y, s.ds)
      batch[#batch + 1] = { key = label_key(s.labels), model = json.encode(model
        or { missing = why }) }
      s.y, s.ds = nil, nil
      if #batch == BATCH or i == #series then
        write(def, now, batch)
        batch = {}
      end
      async.sleep(0) -- the others have a turn between two series
    end
    return switch(def, now)
  end

  local function learn(def, now, expected)
    busy[def.name], retry_at[def.name] = true, clock.now() + AGAIN
    local _ <close> = setmetatable({}, { __close = function() busy[def.name] = nil end })
    local learned, message = gate:run(fit, def, now, expected)
    metrics.models:add(1, learned and 'fitted' or 'failed')
    if not learned then
      log.warn('no baseline could be learned', { signal = def.name, reason = message })
      return nil, message
    end
    cache[def.name], retry_at[def.name] = learned, nil
    log.debug('baselines learned', { signal = def.name })
    return learned
  end

  local function knows_all(found, vector)
    for _, sample in ipairs(vector) do
      if not found.known[label_key(sample.labels)] then return false end
    end
    return true
  end

  --- The models of a signal, by series. Waits only where there are none yet.
  ---@param def table      the signal
  ---@param vector table   the answer to judge, its labels without the metric's name
  ---@param now number
  ---@return table<string, table> by_series  a model, or { missing = why }; to be indexed by a key,
  ---       for models are read as they are asked for
  ---@return string? message  why there is none at all
  function keeper.get(_, def, vector, now)
    local found = load(def.name, def.model_digest)
    local age = found and math.abs(now - found.fitted_at) or math.huge -- clocks go back, too
    local due = age >= def.detector.history.retrain or age >= NEW_SERIES and not knows_all(found,
      vector)
    if not due or busy[def.name] or (retry_at[def.name] or 0) > clock.now() then
      return found and found.by_series or {}, not found and 'the baseline is being learned' or nil
    end
    if found then
      async.spawn(learn, def, now, #vector)
      return found.by_series
    end
    local learned, message = learn(def, now, #vector)
    return learned and learned.by_series or {}, message
  end

  return keeper
end

--- Forgets the models of signals that are declared no more.
function models.prune(store, names)
  for _, row in ipairs(store:rows [[select signal from models
    union select signal from series_models]]) do
    if not names[row.signal] then
      store:exec('delete from models where signal = ?', row.signal)
      store:exec('delete from series_models where signal = ?', row.signal)
    end
  end
end

return models
