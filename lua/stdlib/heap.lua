--- A binary heap: the least first. Items are tables; their order is the number in the field `key`.
local heap = {}
heap.__index = heap

---@param key string  the field that orders the items
function heap.new(key) return setmetatable({ key = key }, heap) end

--- The item that comes first, or nil.
function heap:first() return self[1] end

local function rise(self, i)
  local item, key = self[i], self.key
  while i > 1 and self[i // 2][key] > item[key] do
    self[i], i = self[i // 2], i // 2
  end
  self[i] = item
end

local function sink(self, i)
  local item, key, n = self[i], self.key, #self
  while 2 * i <= n do
    local child = 2 * i
    if child < n and self[child + 1][key] < self[child][key] then child = child + 1 end
    if self[child][key] >= item[key] then break end
    self[i], i = self[child], child
  end
  self[i] = item
end

--- Puts an item where it belongs.
function heap:push(item)
  self[#self + 1] = item
  rise(self, #self)
end

--- After the first item's number has become larger.
function heap:first_changed() if self[1] then sink(self, 1) end end

return heap
