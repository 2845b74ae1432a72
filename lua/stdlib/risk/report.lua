--- What a change's risk is, in words: a document for programs, text for a terminal, Markdown for a
--- pull request, code quality for GitLab. Paths are other people's text.
local cli = require 'command.cli'
local hash = require 'perigee.hash'
local json = require 'perigee.json'

local report = {}

local MOST_ROWS = 50         -- files that a table lists
local MOST_SAID = 20         -- lines of what production says
local MOST_MARKDOWN = 60000  -- bytes; GitHub takes 65,536 characters

---@class risk.Report
---@field risk_score number
---@field risk_level "low"|"medium"|"high"
---@field recommendation string
---@field base string, base_name string, head string
---@field files table[]
---@field categories table<string, { files: integer, points: number }>
---@field production table[]   what production says: { words, points }
---@field notes string[]       what a reader has to know of how it came about

--- Points as people write them.
local function number(x) return ('%.14g'):format(x) end

--- Files by their points, then by path.
local function ranked(r)
  local out = table.move(r.files, 1, #r.files, 1, {})
  table.sort(out, function(a, b)
    if a.points ~= b.points then return a.points > b.points end
    return a.path < b.path
  end)
  return out
end

local function reasons_text(file)
  local words = {}
  for i, reason in ipairs(file.reasons) do
    words[i] = ('%s (+%s)'):format(reason.words, number(reason.points))
  end
  return table.concat(words, ', ')
end

local function status_text(file)
  if file.old_path then return ('%s from %s'):format(file.status, file.old_path) end
  return (file.status:gsub('_', ' ')) .. (file.binary and ', binary' or '')
end

local function category_names(r)
  local names = {}
  for name in pairs(r.categories) do names[#names + 1] = name end
  table.sort(names)
  return names
end

-- -- for programs ---------------------------------------------------------------------------------

--- The document of `--json`.
---@param r risk.Report
function report.document(r)
  local files = json.array()
  for i, f in ipairs(r.files) do
    local reasons = json.array()
    for k, reason in ipairs(f.reasons) do
      reasons[k] = { kind = reason.kind, points = reason.points, reason = reason.words }
    end
    files[i] = { path = f.path, old_path = f.old_path, status = f.status,
      categories = json.array(f.categories), points = f.points, reasons = reasons,
      additions = f.additions, deletions = f.deletions, binary = f.binary }
  end
  local production = json.array()
  for i, p in ipairs(r.production) do
    production[i] = { points = p.points, reason = p.words }
  end
  return { risk_score = r.risk_score, risk_level = r.risk_level,
    recommendation = r.recommendation, base = r.base, base_name = r.base_name, head = r.head,
    files = files, categories = r.categories, production = production,
    notes = json.array(r.notes) }
end

local SEVERITY = { low = 'minor', medium = 'major', high = 'critical' }

--- GitLab's code quality: one issue a file that has points.
function report.code_quality(r)
  local out = json.array()
  for _, f in ipairs(ranked(r)) do
    if f.points > 0 then
      local words = ('change risk %s: %s'):format(number(f.points), reasons_text(f))
      out[#out + 1] = { description = words, check_name = 'perigee-risk',
        fingerprint = hash.sha256('perigee-risk\0' .. f.path), severity = SEVERITY[r.risk_level],
        location = { path = f.path, lines = { begin = 1 } } }
    end
  end
  return out
end

local function more_text(n, words)
  return ('%d more file%s%s'):format(n, n == 1 and '' or 's', words)
end

-- -- for people -----------------------------------------------------------------------------------

local COLOUR = { low = 'green', medium = 'yellow', high = 'red' }

--- Prints it.
function report.print(r)
  print(('%s: %s points, %d files changed since %s (%s)'):format(
    cli.colour(COLOUR[r.risk_level], r.risk_level .. ' risk'), number(r.risk_score), #r.files,
    r.base:sub(1, 12), cli.plain(r.base_name)))
  print(r.recommendation)
  local rows, left = {}, 0
  for _, f in ipairs(ranked(r)) do
    if f.points == 0 or #rows == MOST_ROWS then
      left = left + 1
    else
      rows[#rows + 1] = { number(f.points), f.path, status_text(f), reasons_text(f) }
    end
  end
  if #rows > 0 then
    print()
    cli.table({ 'POINTS', 'FILE', 'STATUS', 'WHY' }, rows)
  end
  if left > 0 then print(more_text(left, #rows < MOST_ROWS and ' without points' or '')) end
  for _, p in ipairs(r.production) do
    print(('%s  %s'):format(number(p.points), cli.plain(p.words)))
  end
  for _, note in ipairs(r.notes) do print('note: ' .. cli.plain(note)) end
end

--- Other people's text in Markdown, also in a table's cell: as code, where nobody is mentioned and
--- nothing linked, whatever it holds.
local function code(text)
  text = cli.plain(text):gsub('|', '\\|')
  local fence = '`'
  while text:find(fence, 1, true) do fence = fence .. '`' end
  local space = (text:find '^[` ]' or text:find '[` ]$') and ' ' or ''
  return fence .. space .. text .. space .. fence
end

local function status_markdown(file)
  if file.old_path then return ('%s from %s'):format(file.status, code(file.old_path)) end
  return status_text(file)
end

local function files_table(r)
  local lines, left = {}, 0
  for _, f in ipairs(ranked(r)) do
    if f.points == 0 or #lines == MOST_ROWS then
      left = left + 1
    else
      lines[#lines + 1] = ('| %s | %s | %s | %s |'):format(number(f.points), code(f.path),
        status_markdown(f), reasons_text(f))
    end
  end
  return lines, left
end

--- As Markdown, no longer than a comment may be.
function report.markdown(r)
  local head = { '## Change risk: ' .. r.risk_level, '',
    ('**Risk level:** %s, %s points in %d changed files'):format(r.risk_level,
    number(r.risk_score), #r.files), '',
    '**Recommendation:** ' .. r.recommendation, '' }
  local tail = { '' }
  for i = 1, math.min(#r.production, MOST_SAID) do
    local p = r.production[i]
    tail[#tail + 1] = ('- %s (+%s)'):format(code(p.words), number(p.points))
  end
  if #r.production > MOST_SAID then
    tail[#tail + 1] = ('- %d more like these'):format(#r.production - MOST_SAID)
  end
  for _, note in ipairs(r.notes) do tail[#tail + 1] = '- ' .. note end
  tail[#tail + 1] = ('\n<sub>Compared with %s (%s).</sub>\n'):format(r.base:sub(1, 12),
    code(r.base_name))
  for _, name in ipairs(category_names(r)) do
    local c = r.categories[name]
    if c.files > 0 then
      head[#head + 1] = ('- %s: %d files, %s points'):format(name, c.files,
        number(c.points))
    end
  end
  local rows, left = files_table(r)
  local text = table.concat(head, '\n') .. '\n'
  local last = table.concat(tail, '\n')
  if #rows > 0 then
    text = text .. '\n| Points | File | Status | Why |\n| --: | --- | --- | --- |\n'
  end
  for i, row in ipairs(rows) do
    if #text + #row + #last + 100 > MOST_MARKDOWN then
      left = left + #rows - i + 1
      break
    end
    text = text .. row .. '\n'
  end
  if left > 0 then text = ('%s\n%s\n'):format(text, more_text(left, '')) end
  return text .. last
end

return report
