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

--- What tasks can wait for and others set: :wait([seconds]), :set(), :clear().
function async.event() return task.event() end

--- Runs all functions at once and waits for every one; at most `limit` are under way at a time.
---@param functions (fun(): any)[]
---@param limit? integer
---@return any[] results  the first result of each, by position
function async.all(functions, limit)
  local results, tasks, next_one = {}, {}, 1
  local function worker()
    while next_one <= #functions do
      local i = next_one
      next_one = i + 1
      results[i] = functions[i]()
    end
  end
  for i = 1, math.min(limit or #functions, #functions) do tasks[i] = task.spawn(worker) end
  local failure
  for _, t in ipairs(tasks) do
    if failure then
      t:cancel()
    else
      local ok, message = pcall(t.await, t)
      if not ok then failure = message end
    end
  end
  if failure then error(failure, 0) end
  return results
end

--- Runs all functions at once; when the first has ended the others are cancelled.
---@param functions (fun(): any)[]
---@return integer position  whose it was
---@return any result
function async.any(functions)
  local first, tasks = task.event(), {}
  local winner
  for i, f in ipairs(functions) do
    tasks[i] = task.spawn(function()
      local results = table.pack(pcall(f))
      if not winner then winner = { i, results } end
      first:set()
    end)
  end
  first:wait()
  for _, t in ipairs(tasks) do t:cancel() end
  local results = winner[2]
  if not results[1] then error(results[2], 0) end
  return winner[1], table.unpack(results, 2, results.n)
end

--- The results of f(…), or nil and "timeout" when it takes longer; it is then cancelled.
---@param seconds number
---@param f function
function async.timeout(seconds, f, ...)
  local t = task.spawn(f, ...)
  local results = table.pack(t:await(seconds))
  if results[1] == nil and results[2] == 'timeout' then t:cancel() end
  return table.unpack(results, 1, results.n)
end

--- At most n holders at a time: gate:run(f, …).
---@param n integer
function async.gate(n)
  local free, waiting = n, {}
  local gate = {}
  local function release()
    free = free + 1
    local first = table.remove(waiting, 1)
    if first then first:set() end
  end
  function gate.run(_, f, ...)
    while free == 0 do
      local turn = task.event()
      waiting[#waiting + 1] = turn
      turn:wait()
    end
    free = free - 1
    local _ <close> = setmetatable({}, { __close = release })
    return f(...)
  end
  return gate
end

return async
