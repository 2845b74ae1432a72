--- Temporary folders of a spec, which are taken away together.
local file = require 'perigee.file'

local folders = {}

local made = {}

---@return string path
function folders.new()
  made[#made + 1] = assert(file.temporary_folder 'perigee-spec')
  return made[#made]
end

--- Takes away all that have been made.
function folders.tidy()
  for _, path in ipairs(made) do os.execute(("rm -rf '%s'"):format(path)) end
  made = {}
end

return folders
