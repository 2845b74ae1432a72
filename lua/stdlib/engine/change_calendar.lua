--- The change calendar: files of windows with names, kept by whoever plans changes, in which
--- nothing is acted upon. A file is a YAML list of windows as guardrails.freeze takes them.
local check = require 'check'
local file = require 'perigee.file'
local freeze = require 'engine.freeze'
local yaml = require 'yaml'

local change_calendar = {}

local function problem(path, place, words)
  return ('%s:%d:%d: %s'):format(path, place[1], place[2], words)
end

--- The windows of one file.
---@param path string
---@param text string
---@return table[] windows   as freeze.rule returns them
---@return string[] problems  each with file, line and column
function change_calendar.parse(path, text)
  local root, places = yaml.decode(text)
  if root == nil and places.message then
    return {}, { problem(path, { places.line, places.column }, places.message) }
  end
  local message, windows, nested = check.list_of(freeze.rule).test(root == nil and {} or root)
  if nested then
    local problems = {}
    for i, p in ipairs(nested) do
      problems[i] = problem(path, yaml.place(root, places, p.path), check.words(p))
    end
    return {}, problems
  elseif message then
    return {}, { problem(path, { 1, 1 }, 'expected a list of windows') }
  end
  local problems = {}
  for i, window in ipairs(windows) do
    if not window.name then
      problems[#problems + 1] = problem(path, yaml.place(root, places, { i }),
        ('[%d]: option "name" is missing'):format(i))
    end
  end
  return windows, problems
end

--- The windows of all files, in order.
---@param paths string[]
---@param add fun(position: integer, message: string)  is told what is wrong with which file
---@return table[] windows
---@return string text  of all files: when it is the same, nothing has changed
function change_calendar.read(paths, add)
  local windows, texts = {}, {}
  for i, path in ipairs(paths) do
    local text, message = file.read(path, 1 << 20)
    if not text then add(i, message) end
    local found, problems = change_calendar.parse(path, text or '')
    for _, words in ipairs(problems) do add(i, words) end
    table.move(found, 1, #found, #windows + 1, windows)
    texts[i] = text or ''
  end
  return windows, table.concat(texts, '\0')
end

return change_calendar
