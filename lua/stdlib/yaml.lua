--- YAML: yaml.decode(text [, as_text]) -> value, places, next | nil, { message, line, column }. The
--- first document counts; next is where a second begins. places[table][key] is { line, column }.
--- With as_text plain scalars such as 1.10 or true stay the texts that are written.
local core = require 'perigee.yaml'

local yaml = { decode = core.decode }

--- Where a path leads in a document: the place of its last key, or of the nearest one above it.
---@param root any
---@param places table                  as decode() gives them
---@param path (string|integer)[]
---@return integer[] place              { line, column }
---@return boolean whole                it is that of the last key
function yaml.place(root, places, path)
  local at, found = root, { 1, 1 }
  for _, step in ipairs(path) do
    local known = type(at) == 'table' and places[at] and places[at][step]
    if not known then return found, false end
    found, at = known, at[step]
  end
  return found, true
end

return yaml
