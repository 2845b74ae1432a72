--- Hosts, ports and URLs, as far as templates ask for them.
local M = {}

--- net.SplitHostPort
---@param s string
---@return string? host  nil when there is no port, or the brackets are wrong
---@return string? port
local function split(s)
  local colon = s:find(':[^:]*$')
  if not colon then return nil end
  local host, before, behind
  if s:sub(1, 1) == '[' then
    local close = s:find(']', 1, true)
    if close ~= colon - 1 then return nil end
    host, before, behind = s:sub(2, close - 1), s:sub(2), s:sub(close + 1)
  else
    host, before, behind = s:sub(1, colon - 1), s, s
    if host:find(':', 1, true) then return nil end
  end
  if before:find('[', 1, true) or behind:find(']', 1, true) then return nil end
  return host, s:sub(colon + 1)
end

local function is_ipv4(s)
  local parts = { s:match('^(%d+)%.(%d+)%.(%d+)%.(%d+)$') }
  for _, part in ipairs(parts) do
    if #part > 3 or tonumber(part) > 255 then return false end
    if #part > 1 and part:sub(1, 1) == '0' then return false end
  end
  return #parts == 4
end

local function is_ipv6(s)
  local groups, gap = 0, false
  local rest = s
  if rest:sub(1, 2) == '::' then
    gap, rest = true, rest:sub(3)
  end
  while rest ~= '' do
    if groups <= 6 and is_ipv4(rest) then
      groups = groups + 2
      break
    end
    local digits, behind = rest:match('^(%x+)()')
    if not digits or #digits > 4 then return false end
    groups, rest = groups + 1, rest:sub(behind)
    if rest == '' then break end
    if rest:sub(1, 2) == '::' and not gap then
      gap, rest = true, rest:sub(3)
    elseif rest:find('^:[^:]') then
      rest = rest:sub(2)
    else
      return false
    end
  end
  return gap and groups < 8 or groups == 8
end

--- The host of host:port; what has no port stays as it is.
---@param s string
---@return string
function M.strip_port(s) return split(s) or s end

--- The first label of a domain name, with its port; addresses stay as they are.
---@param s string
---@return string
function M.strip_domain(s)
  local host, port = split(s)
  host = host or s
  if is_ipv4(host) or is_ipv6(host) then return s end
  host = host:match('^[^.]*')
  if not port or port == '' then return host end
  if host:find(':', 1, true) then host = '[' .. host .. ']' end
  return host .. ':' .. port
end

--- The path of a URL, unescaped.
---@param url string
---@return string
function M.path(url)
  local path = url:gsub('[?#].*$', ''):gsub('^%a[%w+.-]*:', ''):gsub('^//[^/]*', '')
  return (path:gsub('%%(%x%x)', function(hex) return string.char(tonumber(hex, 16)) end))
end

return M
