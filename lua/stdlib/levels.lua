--- The four levels of trust, and which of two is less.
local levels = {}

levels.NAMES = { 'auto', 'human_approve', 'recommend', 'manual_only' } -- by power, from the most

local RANK = {}
for i, name in ipairs(levels.NAMES) do RANK[name] = i end

--- Whether it is one of them.
function levels.is(name) return RANK[name] ~= nil end

--- Whether a level is more than another.
---@param a string
---@param b string
function levels.exceeds(a, b) return RANK[a] < RANK[b] end

return levels
