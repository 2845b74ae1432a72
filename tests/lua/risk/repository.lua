--- Real git repositories for the specs of change risk: made, committed to, cloned, taken away.
local file = require 'perigee.file'
local folders = require 'lua.folders'
local process = require 'perigee.process'

local repository = {}

local Repository = {}
Repository.__index = Repository

--- Runs git in the repository; the standard output of what must succeed.
function Repository:git(...)
  local argv = { 'git', '-c', 'commit.gpgsign=false', ... }
  argv.cwd = self.folder
  argv.add_env = { GIT_CONFIG_GLOBAL = '/dev/null', GIT_CONFIG_NOSYSTEM = '1',
    GIT_AUTHOR_NAME = 'Ada', GIT_AUTHOR_EMAIL = self.author, GIT_COMMITTER_NAME = 'Ada',
    GIT_COMMITTER_EMAIL = self.author, GIT_AUTHOR_DATE = self.date, GIT_COMMITTER_DATE = self.date }
  local status, out, err = assert(process.start(argv)):wait(30)
  assert(status == 0, ('git %s: %s%s'):format(table.concat({ ... }, ' '), out, err))
  return out
end

--- Writes files (false: takes them away) and commits them.
---@param files table<string, string|false>
---@param subject? string
function Repository:commit(files, subject)
  for name, text in pairs(files) do
    local path = self.folder .. '/' .. name
    if text then
      assert(file.make_folder(path:match '^(.*)/'))
      assert(file.write(path, text))
    else
      assert(os.remove(path))
    end
  end
  self:git('add', '-A')
  self:git('commit', '-q', '-m', subject or 'a change')
  return (self:git('rev-parse', 'HEAD'):match '%x+')
end

local function at(path)
  return setmetatable({ folder = path, author = 'ada@example.org', date = '@1700000000 +0000' },
    Repository)
end

--- A repository with these files on its branch main, and a branch "feature" that is checked out.
---@param files? table<string, string>
function repository.new(files)
  local self = at(folders.new())
  self:git('init', '-q', '-b', 'main')
  self:commit(files or { README = 'hello\n' }, 'the first')
  self:git('checkout', '-q', '-b', 'feature')
  return self
end

--- A clone, with further arguments of git clone.
function Repository:clone(...)
  local path = folders.new() .. '/clone'
  local arguments = { ... }
  table.insert(arguments, 'file://' .. self.folder)
  table.insert(arguments, path)
  self:git('clone', '-q', table.unpack(arguments))
  return at(path)
end

repository.tidy = folders.tidy

return repository
