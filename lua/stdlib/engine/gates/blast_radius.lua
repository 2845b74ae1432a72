--- How many pods of a workload a plan may make unavailable at once: a share of its replicas and a
--- count, at least one, and never the last that is ready. What other plans under way take away
--- counts too.
local counted = require 'engine.gates.counted'
local registry = require 'actions.registry'

--- Which pods an action's preview counts: those of its workload.
local function workload_of(seen) return seen.preview.workload or seen.target end

--- The pods that the actions of a plan which have not ended make unavailable at once, by workload.
--- One that is awaited until its pods are back comes before the next; of others all count.
---@param out table<string, integer>  is added to
local function add_unavailable(out, actions)
  local own = {}
  for _, seen in ipairs(actions) do
    local n = seen.preview and seen.preview.unavailable or 0
    if n > 0 then
      local key = workload_of(seen)
      local is_awaited = registry.get(seen.action.name).settled ~= nil
      own[key] = is_awaited and math.max(own[key] or 0, n) or (own[key] or 0) + n
    end
  end
  for key, n in pairs(own) do out[key] = (out[key] or 0) + n end
  return own
end

--- How many of so many replicas may be unavailable at once.
local function most(guardrails, replicas)
  -- 0.29 * 100 is 28.999999999999996: a share that is met exactly counts as met.
  local share = math.max(1, math.floor(guardrails.blast_radius * replicas + 1e-9))
  return math.min(share, guardrails.max_unavailable or share)
end

--- One workload's verdict: the words, and whether they refuse.
local function judge(guardrails, workload, preview, own, others)
  local allowed, n = most(guardrails, preview.replicas), own + others
  local words = ('%d of %d pods of %s would be unavailable at once%s'):format(n,
    preview.replicas, workload,
    others > 0 and (', %d of them by other plans under way'):format(others) or '')
  if n > allowed then
    return ('%s; guardrails.blast_radius of %g allows %d%s'):format(words, guardrails.blast_radius,
      allowed, guardrails.max_unavailable
      and (' (guardrails.max_unavailable is %d)'):format(guardrails.max_unavailable) or ''), true
  elseif preview.ready - n < 1 then
    return ('%s, and %d are ready: the last ready one stays'):format(words, preview.ready), true
  end
  return ('%s; %d are allowed, %d are ready'):format(words, allowed, preview.ready), false
end

--- The actions of a plan that are still to come: of one that runs, only the next.
local function to_come(engine, p)
  local all, out = counted.unfinished(engine.store, p), {}
  for _, seen in ipairs(all) do
    if not p.at or seen.position == p.at then out[#out + 1] = seen end
  end
  return out
end

---@param engine table
---@param p table  at: the position of the next action, of a plan that runs
---@return string? refusal
---@return string? words
return function(engine, p)
  local actions = to_come(engine, p)
  for _, seen in ipairs(actions) do
    local preview = seen.preview
    local where = ('action %d (%s)'):format(seen.position, seen.action.name)
    if seen.scope and (not preview or next(preview) == nil) then
      return where .. ': nobody has looked at what it would do: there is no preview'
    elseif preview and (preview.unavailable or 0) > 0
      and not (preview.replicas and preview.ready) then
      return where .. ': its preview does not say how many replicas there are, and how many ready'
    end
  end
  local others, told = {}, {}
  local own = add_unavailable({}, actions)
  if next(own) == nil then return nil, 'no pod would be made unavailable at once' end
  for _, other in ipairs(counted.under_way(engine.store, p.id)) do
    add_unavailable(others, counted.unfinished(engine.store, other))
  end
  local done = {}
  for _, seen in ipairs(actions) do
    local key = seen.preview and (seen.preview.unavailable or 0) > 0 and workload_of(seen)
    if key and not done[key] then
      done[key] = true
      local words, refuses = judge(engine.config.guardrails, key, seen.preview, own[key],
        others[key] or 0)
      if refuses then return words end
      told[#told + 1] = words
    end
  end
  return nil, table.concat(told, '; ')
end
