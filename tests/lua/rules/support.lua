--- What the specs of the rule language share: rule files from texts, and what is said of them.
local config = require 'config'
local engine = require 'lua.engine.support'
local file = require 'perigee.file'
local load_rules = require 'rules.load'

local support = { tidy = engine.tidy, folder = engine.folder }

local function texts(list, folder)
  local out, prefix = {}, (folder .. '/'):gsub('%p', '%%%0')
  for i, p in ipairs(list) do out[i] = config.problem_text(p):gsub(prefix, '') end
  return out
end

--- Loads rule files, given as texts by name; a text alone is r.lua.
---@param files string|table<string, string>
---@return string[] problems  as they are printed, without the folder
---@return string[] warnings
---@return table set
function support.load(files)
  if type(files) == 'string' then files = { ['r.lua'] = files } end
  local folder, paths = support.folder(), {}
  for name, text in pairs(files) do
    assert(file.write(folder .. '/' .. name, text))
    if not name:find '^lib' then paths[#paths + 1] = folder .. '/' .. name end -- for require
  end
  table.sort(paths)
  local set, problems, warnings = load_rules.load(paths, { every = 30, limits = {} })
  return texts(problems, folder), texts(warnings, folder), set
end

return support
