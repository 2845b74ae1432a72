--- Log lines with named fields: log.info('reloaded', { rules = 12 }).
local raw = require 'perigee.log'

local log = {}

local function text(value)
  if type(value) == 'number' and math.type(value) == 'float' then return ('%.6g'):format(value) end
  return tostring(value)
end

local function write(level, message, fields)
  local names, flat = {}, {}
  for name in pairs(fields or {}) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    flat[#flat + 1] = name
    flat[#flat + 1] = text(fields[name])
  end
  raw.write(level, message, flat)
end

---@param message string  what happened, without values in it
---@param fields? table<string, any>
function log.debug(message, fields) write('debug', message, fields) end
--- What an operator wants to know.
function log.info(message, fields) write('info', message, fields) end
--- What an operator should look at some day.
function log.warn(message, fields) write('warn', message, fields) end
--- What an operator should look at now.
function log.error(message, fields) write('error', message, fields) end

log.setup = raw.setup
log.secret = raw.secret
log.redact = raw.redact
log.capture = raw.capture

return log
