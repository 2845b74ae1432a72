--- What a job of GitHub Actions says of itself in its environment, and what it is told: outputs, a
--- summary, commands on standard output.
local file = require 'perigee.file'
local hash = require 'perigee.hash'
local json = require 'perigee.json'

local workflow = {}

local MOST_SUMMARY = 1 << 20
local MOST_EVENT = 16 << 20

--- The event that a workflow runs for; {} elsewhere.
---@return table event
---@return string? message
function workflow.event()
  local path = os.getenv 'GITHUB_EVENT_PATH'
  if not path or path == '' then return {} end
  local text, message = file.read(path, MOST_EVENT)
  if not text then return {}, 'GITHUB_EVENT_PATH: ' .. message end
  local event
  event, message = json.decode(text)
  if type(event) ~= 'table' then
    return {}, ('%s: %s'):format(path, message or 'expected an object')
  end
  return event
end

--- The base that the environment tells of: of a pull request where it goes, of a push what was
--- there before.
---@param event table
---@return string
function workflow.base(event)
  local target = os.getenv 'GITHUB_BASE_REF' or ''
  if target ~= '' then return 'origin/' .. target end
  local before = event.before
  if os.getenv 'GITHUB_EVENT_NAME' == 'push' and type(before) == 'string'
    and before:find '^%x+$' and before:find '[1-9a-f]' then -- all zeros: a new branch
    return before
  end
  return 'origin/main'
end

local function append(variable, text)
  local path = os.getenv(variable)
  if not path or path == '' then return true end
  local f, message = io.open(path, 'ab')
  if not f then return nil, ('%s: %s'):format(variable, message) end
  local ok, why = f:write(text)
  if ok then ok, why = f:close() else f:close() end
  if not ok then return nil, ('%s: %s'):format(variable, why) end
  return true
end

--- Sets outputs of the step. Does nothing elsewhere.
---@param outputs { [1]: string, [2]: string }[]  names and values, in order
function workflow.outputs(outputs)
  local lines = {}
  for i, o in ipairs(outputs) do
    local name, value = o[1], o[2]
    if value:find '[\r\n]' then -- a mark that no value can hold by chance, or by guessing
      local mark = 'end-' .. hash.random(16)
      lines[i] = ('%s<<%s\n%s\n%s\n'):format(name, mark, value, mark)
    else
      lines[i] = ('%s=%s\n'):format(name, value)
    end
  end
  return append('GITHUB_OUTPUT', table.concat(lines))
end

--- Adds to the summary of the step. Does nothing elsewhere.
function workflow.summary(markdown)
  return append('GITHUB_STEP_SUMMARY', markdown:sub(1, MOST_SUMMARY - 1) .. '\n')
end

return workflow
