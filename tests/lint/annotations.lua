-- Every function that a module of the standard library gives away says what it is for, and the
-- parameters that its annotations name are those that it has. Usage: lua5.4 annotations.lua
local failed = false

local function complain(path, line, message)
  print(('%s:%d: %s'):format(path, line, message))
  failed = true
end

local function lines_of(path)
  local lines = {}
  for line in io.lines(path) do lines[#lines + 1] = line end
  return lines
end

--- The name that the file returns: what is a field of it is public.
local function returned(lines)
  for i = #lines, 1, -1 do
    local name = lines[i]:match '^return ([%a_][%w_]*)$'
    if name then return name end
  end
end

local function parameters(text)
  local set = {}
  for name in text:gmatch '[%a_][%w_]*' do set[name] = true end
  if text:find('...', 1, true) then set['...'] = true end
  return set
end

local function check_comment(path, lines, at, params)
  local first = at
  while first > 1 and lines[first - 1]:match '^%-%-%-' do first = first - 1 end
  if first == at then
    return complain(path, at, 'a public function without a "---" comment')
  end
  for i = first, at - 1 do
    local name = lines[i]:match '^%-%-%-@param%s+([%w_%.]+)'
    if name and not params[name] then
      complain(path, i, ('"%s" is no parameter of the function below'):format(name))
    end
  end
end

local function check(path)
  local lines = lines_of(path)
  local module = returned(lines)
  if not lines[1]:match '^%-%-%- ' then complain(path, 1, 'a file without a "---" comment') end
  for i, line in ipairs(lines) do
    local owner, params = line:match '^function ([%a_][%w_]*)[.:][%w_]+%((.*)%)'
    if owner and owner == module then check_comment(path, lines, i, parameters(params)) end
  end
end

local find = assert(io.popen "git ls-files 'lua/stdlib/*.lua'")
for path in find:lines() do check(path) end
find:close()
os.exit(not failed)
