--- From files and settings to points: each with its reason, so that the sum can be read.
local score = {}

local DAY = 86400

---@class risk.Reason
---@field kind string    a category, or "size", "age", "ownership", "repairs"
---@field points number
---@field words string

local function add(scored, kind, points, words)
  if points == 0 then return end
  scored.points = scored.points + points
  scored.reasons[#scored.reasons + 1] = { kind = kind, points = points, words = words }
end

local function sorted_names(map)
  local names = {}
  for name in pairs(map) do names[#names + 1] = name end
  table.sort(names)
  return names
end

--- The categories of a file, by where it is and where it was.
local function categorise(scored, file, settings, totals)
  for _, name in ipairs(sorted_names(settings.categories)) do
    local category = settings.categories[name]
    local is, was = category.pattern(file.path), file.old_path and category.pattern(file.old_path)
    if is or was then
      scored.categories[#scored.categories + 1] = name
      totals[name].files = totals[name].files + 1
      totals[name].points = totals[name].points + category.weight
      add(scored, name, category.weight, is and name or ('%s, by its old name'):format(name))
    end
  end
end

local function by_size(scored, file, size)
  local lines = (file.additions or 0) + (file.deletions or 0)
  if lines > size.lines then
    add(scored, 'size', size.weight, ('%d lines, more than %d'):format(lines, size.lines))
  end
end

local function by_past(scored, settings, past, authors, now)
  local age, ownership, repairs = settings.age, settings.ownership, settings.repairs
  if age and past.last and now - past.last > age.days * DAY then
    add(scored, 'age', age.weight, ('not changed for %d days, more than %g'):format(
      (now - past.last) // DAY, age.days))
  end
  if ownership and next(past.authors) then
    local known = false
    for author in pairs(authors) do known = known or past.authors[author] end
    if not known then
      add(scored, 'ownership', ownership.weight, 'none of the authors has changed it before')
    end
  end
  if repairs and past.mended > 0 then
    add(scored, 'repairs', repairs.weight, ('%d repairs in the last %g days'):format(past.mended,
      repairs.days))
  end
end

--- Whether the settings ask for the past of files at all.
function score.needs_history(settings)
  return settings.age ~= nil or settings.ownership ~= nil or settings.repairs ~= nil
end

---@param points number
function score.level(settings, points)
  if points > settings.levels.high then return 'high' end
  if points > settings.levels.medium then return 'medium' end
  return 'low'
end

--- What a change is worth.
---@param changes risk.Changes
---@param settings table
---@param past? table<string, risk.Past>  with it:
---@param authors? table<string, true>
---@param now? number
---@return { points: number, files: table[], categories: table<string, table> }
function score.files(changes, settings, past, authors, now)
  local totals, out, points = {}, {}, 0
  for name in pairs(settings.categories) do totals[name] = { files = 0, points = 0 } end
  for i, file in ipairs(changes.files) do
    local scored = { path = file.path, old_path = file.old_path, status = file.status,
      additions = file.additions, deletions = file.deletions, binary = file.binary,
      categories = {}, points = 0, reasons = {} }
    categorise(scored, file, settings, totals)
    if settings.size then by_size(scored, file, settings.size) end
    if past then
      by_past(scored, settings, past[file.old_path or file.path], authors, now)
    end
    out[i], points = scored, points + scored.points
  end
  return { points = points, files = out, categories = totals }
end

return score
