--- Names as Kubernetes allows them (DNS-1123). What a rule makes of labels is hostile text: it is
--- looked at before it becomes part of a URL.
local check = require 'check'

local names = {}

local NAME, LABEL = 253, 63 -- characters, at most

local function is_label(text)
  return #text <= LABEL and text:find '^[%l%d]' and text:find '[%l%d]$'
    and not text:find '[^%l%d-]'
end

local function is_subdomain(text)
  if text == '' or #text > NAME then return false end
  for part in (text .. '.'):gmatch '(.-)%.' do
    -- Only a label of DNS is limited to 63 characters, not a part of an object's name.
    if part:find '[^%l%d-]' or not part:find '^[%l%d]' or not part:find '[%l%d]$' then
      return false
    end
  end
  return true
end

--- What is wrong with an object's name, or nil.
---@param v any
---@return string? message
function names.check(v)
  if type(v) == 'string' and is_subdomain(v) then return end
  return check.expected('the name of a Kubernetes object', v)
end

--- What is wrong with a namespace's name, or nil.
---@param v any
---@return string? message
function names.check_namespace(v)
  if type(v) == 'string' and is_label(v) then return end
  return check.expected('the name of a namespace', v)
end

return names
