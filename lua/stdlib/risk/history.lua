--- What the past says of the files of a change: when each was changed last, by whom, and which
--- changes of it had to be mended.
local git = require 'risk.git'

local history = {}

history.COMMITS = 5000 -- of the past are looked at, at most

---@class risk.Past  of one path
---@field last? number               Unix seconds of its last change
---@field authors table<string, true>  e-mail addresses
---@field mended integer             changes whose subject is that of a repair

--- A commit is "\1TIME TAB AUTHOR TAB SUBJECT", then its paths, NUL between all.
local function read(text, wanted, is_repair, since)
  local past = {}
  for path in pairs(wanted) do past[path] = { authors = {}, mended = 0 } end
  local time, author, repair
  local commits = 0
  for field in text:gmatch '[^\0]+' do
    field = field:gsub('^\n+', '')
    local t, a, subject = field:match '^\1(%d+)\t([^\t]*)\t(.*)$'
    if t then
      commits, time, author = commits + 1, tonumber(t), a:lower()
      repair = time >= since and is_repair(subject)
    elseif past[field] then
      local p = past[field]
      p.last = math.max(p.last or 0, time)
      p.authors[author] = true
      if repair then p.mended = p.mended + 1 end
    end
  end
  return past, nil, commits == history.COMMITS
end

--- What lies before a commit, of these files.
---@param folder string
---@param base string
---@param files risk.File[]
---@param is_repair fun(subject: string): boolean
---@param since number  Unix seconds: repairs before are forgotten
---@return table<string, risk.Past>? by path (the old one of what was renamed)
---@return string? message
---@return boolean? cut  there may be more of the past than was looked at
function history.read(folder, base, files, is_repair, since)
  local wanted = {}
  for _, file in ipairs(files) do wanted[file.old_path or file.path] = true end
  local text, message = git.ask(folder, 'log', '-z', '--name-only', '--no-renames',
    '--max-count=' .. history.COMMITS, '--format=%x01%ct%x09%ae%x09%s', base, '--')
  if not text then return nil, message end
  return read(text, wanted, is_repair, since)
end

--- Who has written the commits of a change.
---@return table<string, true>? e-mail addresses
---@return string? message
function history.authors(folder, base, head)
  local text, message = git.ask(folder, 'log', '-z', '--format=%ae', base .. '..' .. head, '--')
  if not text then return nil, message end
  local out = {}
  for author in text:gmatch '[^\0\n]+' do out[author:lower()] = true end
  return out
end

return history
