--- Waiting for several things at once. A task is a coroutine that waits without stopping the
--- others.
local task = require 'perigee.task'

local async = {}

--- Starts f(…) in a task of its own, with the loop's next turn.
---@param f function
---@return perigee.Task  :await([seconds]), :cancel(), :state()
function async.spawn(f, ...) return task.spawn(f, ...) end

--- Suspends the calling task; 0 lets the others have a turn.
---@param seconds number
function async.sleep(seconds) return task.sleep(seconds) end

--- Lets whoever else uses the loop have a turn. Unlike a sleep it needs no time to pass, so it
--- ends while the clock is virtual, too.
function async.turn() task.spawn(function() end):await() end

--- What tasks can wait for and others set: :wait([seconds]), :set(), :clear().
function async.event() return task.event() end

--- Tasks that are cancelled when the block that holds them is left, be it by its own cancelling;
--- those that have ended by then do not notice.
local function bound(tasks)
  return setmetatable(tasks, { __close = function()
    for _, t in ipairs(tasks) do t:cancel() end
  end })
end

--- Runs all functions at once and waits for every one; at most `limit` are under way at a time.
--- When one raises, the others are cancelled and it is raised here.
---@param functions (fun(): any)[]
---@param limit? integer
---@return any[] results  the first result of each, by position
function async.all(functions, limit)
  if limit and limit < 1 then error('async.all: the limit is at least 1', 2) end
  local results, next_one, ended = {}, 1, task.event()
  local under_way = math.min(limit or #functions, #functions)
  local failure
  local function worker()
    while next_one <= #functions do
      local i = next_one
      next_one = i + 1
      local ok, result = pcall(functions[i])
      if not ok then
        failure = failure or { result }
        return ended:set()
      end
      results[i] = result
    end
    under_way = under_way - 1
    if under_way == 0 then ended:set() end
  end
  local tasks <close> = bound {}
  for i = 1, under_way do tasks[i] = task.spawn(worker) end
  if #tasks > 0 then ended:wait() end
  if failure then error(failure[1], 0) end
  return results
end

--- Runs all functions at once; when the first has ended the others are cancelled.
---@param functions (fun(): any)[]  at least one
---@return integer position  whose it was
---@return any result
function async.any(functions)
  if #functions == 0 then error('async.any: there is no function to wait for', 2) end
  local first, winner = task.event(), nil
  local tasks <close> = bound {}
  for i, f in ipairs(functions) do
    tasks[i] = task.spawn(function()
      local results = table.pack(pcall(f))
      winner = winner or { i, results }
      first:set()
    end)
  end
  first:wait()
  local results = winner[2]
  if not results[1] then error(results[2], 0) end
  return winner[1], table.unpack(results, 2, results.n)
end

--- The results of f(…), or nil and "timeout" when it takes longer; it is then cancelled.
---@param seconds number
---@param f function
function async.timeout(seconds, f, ...)
  local tasks <close> = bound { task.spawn(f, ...) }
  return tasks[1]:await(seconds)
end

--- At most n holders at a time, in order of their coming: gate:run(f, …).
---@param n integer
function async.gate(n)
  local free, waiting = n, {}

  --- Whoever leaves hands the place on. Who is cancelled while it waits leaves too: with a place
  --- that it has just been handed, or without one.
  local function leave(holder)
    if not holder.has_place then
      for i, other in ipairs(waiting) do
        if other == holder then return table.remove(waiting, i) end
      end
    end
    local first = table.remove(waiting, 1)
    if not first then
      free = free + 1
    else
      first.has_place = true
      first.turn:set()
    end
  end

  local gate = {}
  function gate.run(_, f, ...)
    local holder <close> = setmetatable({ has_place = free > 0 }, { __close = leave })
    if holder.has_place then
      free = free - 1
    else
      holder.turn = task.event()
      waiting[#waiting + 1] = holder
      holder.turn:wait()
    end
    return f(...)
  end
  return gate
end

return async
