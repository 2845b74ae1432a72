--- Foreign text, as much of it as is told: of other programs, of objects, of answers.
local excerpt = {}

--- The beginning of a text, of at most so many bytes; no character is cut through.
---@param text string
---@param bytes integer
---@return string
function excerpt.head(text, bytes)
  local at = bytes
  while #text > at and at > bytes - 4 and text:find('^[\x80-\xBF]', at + 1) do at = at - 1 end
  return text:sub(1, at)
end

--- The same in one line: control characters become spaces.
---@param text any
---@param bytes integer
---@return string
function excerpt.line(text, bytes)
  text = tostring(text):gsub('%c+', ' ')
  return excerpt.head(text, bytes)
end

return excerpt
