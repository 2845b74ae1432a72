--- Asks git about a repository. Nothing of what lies in the repository is run: no hook, no external
--- diff, no text conversion, no pager.
local file = require 'perigee.file'
local process = require 'perigee.process'

local git = {}

local SECONDS, OUTPUT = 120, 256 << 20

local SAFE = { '-c', 'core.fsmonitor=false', '-c', 'core.hooksPath=/dev/null', '-c',
  'core.quotePath=false', '-c', 'diff.external=', '-c', 'diff.relative=false', '-c',
  'log.showSignature=false', '--no-pager' }

local ENV = { LC_ALL = 'C', GIT_TERMINAL_PROMPT = '0', GIT_OPTIONAL_LOCKS = '0',
  GIT_EXTERNAL_DIFF = '', GIT_NO_LAZY_FETCH = '1' }

--- What git has to say of a failure, on one line.
local function words_of(err)
  if err:find('promisor remote', 1, true) or err:find('lazy fetching', 1, true) then
    return 'this clone is partial and lacks what is to be compared: clone without --filter '
      .. '(actions/checkout: no "filter")'
  end
  return (err:match '^%s*(.-)%s*$':gsub('^fatal: ', ''):gsub('%s+', ' '))
end

--- What git says, or nil and why it does not.
---@param folder string
---@param ... string  arguments
---@return string? output
---@return string? message
function git.ask(folder, ...)
  local argv = { 'git', table.unpack(SAFE) }
  for _, argument in ipairs { ... } do argv[#argv + 1] = argument end
  argv.cwd, argv.add_env, argv.limit = folder, ENV, OUTPUT
  if not file.stat(folder) then return nil, ('there is no folder %s'):format(folder) end
  local child, message = process.start(argv)
  if not child then return nil, ('git cannot be run: %s'):format(message) end
  local status, out, err, truncated = child:wait(SECONDS)
  if not status then
    child:kill(9)
    return nil, ('git %s took more than %d s'):format((...), SECONDS)
  end
  if truncated then
    return nil, ('git %s says more than %d MiB'):format((...), OUTPUT >> 20)
  end
  if status ~= 0 then
    local words = words_of(err)
    return nil, words ~= '' and words or ('git %s ended with status %d'):format((...), status)
  end
  return out
end

--- One line of an answer.
---@return string?
---@return string? message
function git.line(folder, ...)
  local out, message = git.ask(folder, ...)
  if not out then return nil, message end
  return out:match '^[^\n]*'
end

--- The commit that a name stands for, or nil and why not. What begins with a dash is no name.
---@param name string
function git.commit(folder, name)
  if name == '' or name:find '^%-' or name:find '[%c ]' then
    return nil, ('"%s" is no name of a commit'):format(name)
  end
  local sha = git.line(folder, 'rev-parse', '--verify', '--quiet', '--end-of-options',
    name .. '^{commit}')
  if not sha then return nil, ('there is no commit "%s" in this clone'):format(name) end
  return sha
end

return git
