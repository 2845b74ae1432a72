--- What a change touches: the files that differ between HEAD and where it branched off its base.
local git = require 'risk.git'

local changes = {}

---@class risk.File
---@field path string
---@field old_path? string  where it was, of a renamed or copied one
---@field status "added"|"modified"|"deleted"|"renamed"|"copied"|"type_changed"
---@field additions? integer, deletions? integer  lines; none of a binary file
---@field binary boolean

---@class risk.Changes
---@field base string        the commit that the change branched off
---@field base_name string   what was asked for
---@field head string
---@field shallow boolean    the clone does not have all of the past
---@field files risk.File[]  by path

local STATUS = { A = 'added', M = 'modified', D = 'deleted', R = 'renamed', C = 'copied',
  T = 'type_changed' }

--- The fields of an answer that ends each with NUL.
local function fields_of(text)
  local at = 1
  return function()
    local stop = text:find('\0', at, true)
    if not stop then return nil end
    local field = text:sub(at, stop - 1)
    at = stop + 1
    return field
  end
end

--- ":100644 100644 SHA SHA M" NUL path NUL, with a second path for what was renamed or copied.
local function read_statuses(text)
  local files, by_path, next_field = {}, {}, fields_of(text)
  for head in next_field do
    local letter = head:match ' (%u)%d*$'
    local file = { path = next_field(), status = STATUS[letter] or 'modified', binary = false }
    if letter == 'R' or letter == 'C' then file.old_path, file.path = file.path, next_field() end
    files[#files + 1], by_path[file.path] = file, file
  end
  return files, by_path
end

--- "ADDED TAB DELETED TAB path" NUL; of what was renamed the path is empty, and two follow. Binary
--- files have "-" for numbers.
local function read_numbers(text, by_path)
  local next_field = fields_of(text)
  for line in next_field do
    local added, deleted, path = line:match '^(%S+)\t(%S+)\t(.*)$'
    if path == '' then
      next_field()
      path = next_field()
    end
    local file = by_path[path]
    if file then
      file.additions, file.deletions = math.tointeger(added), math.tointeger(deleted)
      file.binary = added == '-'
    end
  end
end

local DIFF = { 'diff', '-z', '-M', '--no-ext-diff', '--no-textconv', '--ignore-submodules=none' }

local function diff(folder, form, base, head)
  local arguments = { table.unpack(DIFF) }
  for _, argument in ipairs { form, base, head, '--' } do
    arguments[#arguments + 1] = argument
  end
  return git.ask(folder, table.unpack(arguments))
end

local DEEPER = 'fetch more of it (actions/checkout: fetch-depth: 0; git fetch --unshallow)'

--- Where two commits parted, or nil and why nobody can say.
local function merge_base(folder, base, head, base_name, shallow)
  local sha = git.line(folder, 'merge-base', base, head)
  if sha and sha ~= '' then return sha end
  if shallow then
    return nil, ('this clone is shallow and does not go back to where HEAD and %s parted: %s')
      :format(base_name, DEEPER)
  end
  return nil, ('HEAD and %s have no commit in common'):format(base_name)
end

--- The change from base to head.
---@param folder string
---@param base_name string
---@param head_name string
---@return risk.Changes?
---@return string? message
function changes.read(folder, base_name, head_name)
  local inside, message = git.line(folder, 'rev-parse', '--is-shallow-repository')
  if not inside then return nil, message end
  local shallow = inside == 'true'
  local head, base, from
  head, message = git.commit(folder, head_name)
  if not head then return nil, message end
  base, message = git.commit(folder, base_name)
  if not base then
    return nil, message .. (shallow and '; it is shallow: ' .. DEEPER
      or '; name another with --base')
  end
  from, message = merge_base(folder, base, head, base_name, shallow)
  if not from then return nil, message end
  local statuses, numbers
  statuses, message = diff(folder, '--raw', from, head)
  if not statuses then return nil, message end
  numbers, message = diff(folder, '--numstat', from, head)
  if not numbers then return nil, message end
  local files, by_path = read_statuses(statuses)
  read_numbers(numbers, by_path)
  table.sort(files, function(a, b) return a.path < b.path end)
  return { base = from, base_name = base_name, head = head, shallow = shallow, files = files }
end

return changes
