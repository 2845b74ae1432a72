--- A client of Kubernetes for an action that has begun: it reads before it writes, which waits, and
--- what would have stopped it may have come meanwhile. So each write asks once more, directly
--- before it goes out.
local halting = {}

local WRITES = { 'create', 'update', 'patch', 'delete', 'evict', 'set_scale' }

local function is_rehearsal(...)
  local options = select(select('#', ...), ...)
  return type(options) == 'table' and options.dry_run
end

---@param client table            of lua/stdlib/kubernetes.lua
---@param halted fun(): string?   why nothing more may be done
---@return table client
function halting.client(client, halted)
  local guarded = setmetatable({}, { __index = client })
  for _, name in ipairs(WRITES) do
    guarded[name] = function(_, ...)
      local why = not is_rehearsal(...) and halted()
      if why then return nil, { kind = 'halted', unsent = true, message = 'stopped: ' .. why } end
      return client[name](client, ...)
    end
  end
  -- Telling of what was done is nothing that is done.
  function guarded.event(_, ...) return client:event(...) end
  return guarded
end

return halting
