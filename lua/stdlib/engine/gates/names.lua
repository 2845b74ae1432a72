--- Names that the operator lists, in which a "*" stands for any text.
local names = {}

--- Whether a name is what a pattern says, as a whole.
---@param name string
---@param pattern string
function names.fits(name, pattern)
  return name:find('^' .. pattern:gsub('[^%w*]', '%%%0'):gsub('%*', '.*') .. '$') ~= nil
end

--- Whether a list has a name.
---@param name string
---@param list string[]
function names.listed(name, list)
  for _, pattern in ipairs(list) do
    if names.fits(name, pattern) then return true end
  end
  return false
end

return names
