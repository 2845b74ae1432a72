--- Pictures of series: a chart over time as SVG, written by hand, and a line of blocks for a
--- terminal. A chart is one text without scripts, fonts or links; it follows the reader's light or
--- dark setting, and of a long series it holds no more than can be seen.
local calendar = require 'perigee.calendar'
local ticks = require 'plot.ticks'

local plot = {}

---@class plot.Line
---@field ds number[]     Unix seconds, ascending
---@field y number[]      NaN breaks the line, and so does a gap among the times
---@field label? string   in the legend
---@field kind? string    "history" (default), "fit" or "forecast"

---@class plot.Band
---@field ds number[]
---@field lower number[]
---@field upper number[]
---@field label? string

---@class plot.Threshold
---@field value number
---@field label? string   written at the line; its value is added

---@class plot.Marker
---@field at number       Unix seconds
---@field value number
---@field kind string     "breach" or "anomaly"
---@field text? string    written beside it (a breach),
---@field from? number    away from this value, where the line came from

---@class plot.Chart
---@field title string
---@field subtitle? string
---@field lines plot.Line[]
---@field bands? plot.Band[]
---@field thresholds? plot.Threshold[]
---@field markers? plot.Marker[]
---@field now? number         where the known ends: a line across, the future shaded
---@field unit? string        see plot.unit_of()
---@field timezone? string    whose clock the axis shows; "UTC"
---@field width? integer, height? integer  960 by 400

-- -- texts ----------------------------------------------------------------------------------------

local ESCAPES = { ['&'] = '&amp;', ['<'] = '&lt;', ['>'] = '&gt;', ['"'] = '&quot;',
  ["'"] = '&#39;' }

--- A text that XML can hold, whatever it was: control characters and broken UTF-8 become "?".
local function escape(text)
  text = tostring(text)
  if not utf8.len(text) then text = text:gsub('[\x80-\xFF]', '?') end
  text = text:gsub('%c', '?'):gsub('\xEF\xBF[\xBE\xBF]', '?')
  return (text:gsub('[&<>"\']', ESCAPES))
end

local function length(text) return utf8.len(text) or #text end

local function cut(text, most)
  if length(text) <= most then return text end
  local at = utf8.len(text) and utf8.offset(text, most) or most
  return text:sub(1, at - 1) .. '…'
end

local WIDTH = 6.4 -- of a letter at 12 px, about

-- -- colours: each class in the light, then in the dark ------------------------------------------

local COLOURS = {
  { '.ground', 'fill', '#ffffff', '#14171c' },
  { '.frame', 'stroke', '#d9dde3', '#2c323b' },
  { 'text', 'fill', '#5b6472', '#9aa4b2' },
  { '.title,.strong', 'fill', '#1b2430', '#e8ecf2' },
  { '.grid', 'stroke', '#e9ecf0', '#242a32' },
  { '.future', 'fill', '#f4f6fa', '#191e26' },
  { '.now', 'stroke', '#9aa4b2', '#6b7583' },
  { '.history', 'stroke', '#3c4757', '#c4ccd8' },
  { '.fit', 'stroke', '#7aa7f0', '#4f7fd0' },
  { '.forecast', 'stroke', '#1f6feb', '#58a6ff' },
  { '.band', 'fill', '#1f6feb', '#58a6ff' },
  { '.threshold', 'stroke', '#d1242f', '#ff6b66' },
  { '.red', 'fill', '#d1242f', '#ff6b66' },
  { '.breach', 'fill', '#d1242f', '#ff6b66' },
  { '.breach,.red', 'stroke', '#ffffff', '#14171c' },
  { '.halo', 'fill', '#ffffff', '#14171c' },
  { '.anomaly', 'fill', '#e36209', '#ffa657' },
}

local function style()
  local light, dark = {}, {}
  for i, c in ipairs(COLOURS) do
    light[i] = ('%s{%s:%s}'):format(c[1], c[2], c[3])
    dark[i] = ('%s{%s:%s}'):format(c[1], c[2], c[4])
  end
  return table.concat { '<style>',
    'text{font:12px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}',
    '.title{font-size:16px;font-weight:600}.strong{font-weight:600}',
    '.red{paint-order:stroke;stroke-width:4px;stroke-linejoin:round}',
    'path,line{fill:none;stroke-linejoin:round;stroke-linecap:round}',
    '.history{stroke-width:1.4}.fit{stroke-width:1.4}.forecast{stroke-width:2.2}',
    'path.band{fill-opacity:.17;stroke:none}',
    '.threshold{stroke-width:1.6;stroke-dasharray:7 5}',
    '.now,.drop{stroke-width:1;stroke-dasharray:2 4}.breach{stroke-width:2}',
    table.concat(light), '@media(prefers-color-scheme:dark){', table.concat(dark),
    -- Only a fill of its own may fill a path.
    '}path.history,path.fit,path.forecast,line{fill:none}', '</style>' }
end

-- -- scales ---------------------------------------------------------------------------------------

local function is_finite(x) return x and x - x == 0 end

local function widen(range, values)
  for _, v in ipairs(values) do
    if is_finite(v) then
      if v < range.low then range.low = v end
      if v > range.high then range.high = v end
    end
  end
end

--- The least and the greatest of what must be seen. An interval may run far off, and a threshold
--- may lie far away: neither may flatten the line that is looked at.
local function value_range(chart)
  local r = { low = math.huge, high = -math.huge }
  for _, line in ipairs(chart.lines) do widen(r, line.y) end
  for _, m in ipairs(chart.markers or {}) do widen(r, { m.value }) end
  local lines_only = r.low > r.high
  local size = lines_only and math.huge or math.max(r.high - r.low, math.abs(r.high) * 0.02)
  local most = { low = r.low - 0.6 * size, high = r.high + 0.6 * size }
  for _, band in ipairs(chart.bands or {}) do
    local b = { low = r.low, high = r.high }
    widen(b, band.lower)
    widen(b, band.upper)
    r.low, r.high = math.max(b.low, lines_only and b.low or most.low),
      math.min(b.high, lines_only and b.high or most.high)
  end
  for _, t in ipairs(chart.thresholds or {}) do
    if lines_only or t.value >= r.low - 3 * size and t.value <= r.high + 3 * size then
      widen(r, { t.value })
    end
  end
  if r.low > r.high then r.low, r.high = 0, 1 end
  local pad = r.high > r.low and 0.04 * (r.high - r.low) or math.max(math.abs(r.high) * 0.1, 1e-9)
  local floor = r.low
  r.low, r.high = r.low - pad, r.high + pad
  -- What is never negative is not drawn so; what is near zero is seen from there.
  if floor >= 0 and floor < 0.35 * r.high then r.low = 0 end
  return r
end

local function time_range(chart)
  local from, to = math.huge, -math.huge
  local function take(ds)
    if #ds > 0 then from, to = math.min(from, ds[1]), math.max(to, ds[#ds]) end
  end
  for _, line in ipairs(chart.lines) do take(line.ds) end
  for _, band in ipairs(chart.bands or {}) do take(band.ds) end
  for _, m in ipairs(chart.markers or {}) do take { m.at } end
  if from > to then from, to = 0, 3600 end
  if from == to then from, to = from - 1800, to + 1800 end
  return from, to
end

-- -- paths ----------------------------------------------------------------------------------------

--- Tenths of a pixel, which are all that paths are written in.
local function tenths(x) return math.floor(10 * x + 0.5) end

local function short(n)
  if n % 10 == 0 then return tostring(n // 10) end
  return (('%.1f'):format(n / 10):gsub('^(%-?)0%.', '%1.'))
end

--- A path through points in tenths of a pixel: moves are relative, and what goes on level is one
--- move, which keeps it short.
local function path_of(points)
  local out, x, y, level = {}, 0, 0, nil -- level: where the move begins that goes on level
  for i = 1, #points, 3 do
    local px, py, begins = points[i], points[i + 1], points[i + 2]
    if begins then
      out[#out + 1], level = ('M%s %s'):format(short(px), short(py)), nil
    elseif py == y and px ~= x then
      if level then out[#out] = nil else level = x end
      out[#out + 1] = 'h' .. short(px - level)
    elseif py ~= y then
      local dx, dy = short(px - x), short(py - y)
      out[#out + 1] = px == x and 'v' .. dy
        or 'l' .. dx .. (dy:sub(1, 1) == '-' and '' or ' ') .. dy
      level = nil
    end
    x, y = px, py
  end
  return table.concat(out)
end

--- The time beyond which two samples do not belong together: some times the usual step.
local function gap_of(ds)
  local steps, stride = {}, math.max(1, #ds // 200)
  for i = stride + 1, #ds, stride do steps[#steps + 1] = ds[i - stride + 1] - ds[i - stride] end
  table.sort(steps)
  return steps[1] and 3.5 * steps[#steps // 2 + 1] or math.huge
end

--- The points of a line: at most four a pixel across, its first, least, greatest and last there, so
--- that a spike of one sample among a million is still seen.
local function thin(ds, y, sx, sy)
  local out, gap = {}, gap_of(ds)
  local column, n, begins, before = nil, 0, true, nil
  local first, least, most, last = nil, nil, nil, nil -- indices
  local function emit(i)
    out[#out + 1], out[#out + 2], out[#out + 3] = tenths(sx(ds[i])), tenths(sy(y[i])), begins
    begins = false
  end
  local function flush()
    if n == 0 then return end
    emit(first)
    local a, b = math.min(least, most), math.max(least, most)
    if a ~= first and a ~= last then emit(a) end
    if b ~= first and b ~= last and b ~= a then emit(b) end
    if last ~= first then emit(last) end
    n = 0
  end
  for i = 1, #ds do
    local v = y[i]
    if not is_finite(v) then
      flush()
      begins, column, before = true, nil, nil
    else
      local c = sx(ds[i]) // 1
      if c ~= column or before and ds[i] - before > gap then
        flush()
        if before and ds[i] - before > gap then begins = true end
        column, first, least, most = c, i, i, i
      end
      if v < y[least] then least = i end
      if v > y[most] then most = i end
      last, before, n = i, ds[i], n + 1
    end
  end
  flush()
  return out
end

--- The outline of a band: along its upper edge and back along the lower one. A pixel across has one
--- point of each, the outermost.
local function band_points(band, sx, sy)
  local upper, lower, column = {}, {}, nil
  for i = 1, #band.ds do
    local lo, hi = band.lower[i], band.upper[i]
    if is_finite(lo) and is_finite(hi) then
      local x, top, bottom = sx(band.ds[i]), sy(hi), sy(lo)
      local c = x // 1
      if c == column then
        upper[#upper][2] = math.min(upper[#upper][2], top)
        lower[#lower][2] = math.max(lower[#lower][2], bottom)
      else
        upper[#upper + 1], lower[#lower + 1], column = { x, top }, { x, bottom }, c
      end
    end
  end
  local out = {}
  local function emit(p)
    out[#out + 1], out[#out + 2], out[#out + 3] = tenths(p[1]), tenths(p[2]), #out == 0
  end
  for _, p in ipairs(upper) do emit(p) end
  for i = #lower, 1, -1 do emit(lower[i]) end
  return out
end

-- -- the chart ------------------------------------------------------------------------------------

local Canvas = {}
Canvas.__index = Canvas

function Canvas:add(format, ...)
  self.out[#self.out + 1] = select('#', ...) > 0 and format:format(...) or format
end

function Canvas:text(x, y, words, anchor, class)
  self:add('<text x="%s" y="%s"%s%s>%s</text>', short(tenths(x)), short(tenths(y)),
    anchor and (' text-anchor="%s"'):format(anchor) or '', class and (' class="%s"'):format(class)
    or '', escape(words))
end

function Canvas:line(class, x1, y1, x2, y2)
  self:add('<line class="%s" x1="%s" y1="%s" x2="%s" y2="%s"/>', class, short(tenths(x1)),
    short(tenths(y1)), short(tenths(x2)), short(tenths(y2)))
end

function Canvas:circle(class, x, y, radius)
  self:add('<circle class="%s" cx="%s" cy="%s" r="%s"/>', class, short(tenths(x)),
    short(tenths(y)), radius)
end

--- The samples beside the words of the legend.
local function swatch(canvas, kind, x, y)
  if kind == 'band' then
    canvas:add('<path class="band" d="M%s %sh22v10h-22z"/>', short(tenths(x)), short(tenths(y - 5)))
  elseif kind == 'anomaly' or kind == 'breach' then
    canvas:circle(kind, x + 11, y, 4)
  else
    canvas:line(kind, x, y, x + 22, y)
  end
end

--- What the legend names, each once.
local function legend_items(chart)
  local out, seen = {}, {}
  local function take(kind, label)
    if label and not seen[kind .. label] then
      out[#out + 1], seen[kind .. label] = { kind, cut(label, 40) }, true
    end
  end
  for _, line in ipairs(chart.lines) do take(line.kind or 'history', line.label) end
  for _, band in ipairs(chart.bands or {}) do take('band', band.label) end
  for _, m in ipairs(chart.markers or {}) do
    if m.kind == 'anomaly' then take(m.kind, 'anomaly') end
  end
  return out
end

local function draw_legend(canvas, chart, y)
  local x = canvas.left
  for _, item in ipairs(legend_items(chart)) do
    swatch(canvas, item[1], x, y - 4)
    canvas:text(x + 28, y, item[2])
    x = x + 28 + WIDTH * length(item[2]) + 22
  end
end

local function draw_axes(canvas, chart, marks, zone)
  local c = canvas
  for _, m in ipairs(marks) do
    local y = c.sy(m.at)
    c:line('grid', c.left, y, c.right, y)
    c:text(c.left - 8, y + 4, m.text, 'end')
  end
  local times = ticks.times(c.from, c.to, math.max(2, (c.right - c.left) // 80), zone)
  local free = -math.huge
  for _, m in ipairs(times) do
    local x = c.sx(m.at)
    local half = WIDTH * length(m.text) / 2
    c:line('grid', x, c.top, x, c.bottom)
    c:line('now', x, c.bottom, x, c.bottom + (m.major and 7 or 4))
    -- A mark whose words would run into others' stands without.
    if x - half > free and x + half < c.width - 4 then
      c:text(x, c.bottom + 20, m.text, 'middle', m.major and 'strong' or nil)
      free = x + half + 6
    end
  end
  local first, last = calendar.time(c.from // 1, zone).year, calendar.time(c.to // 1, zone).year
  local years = first == last and tostring(first) or ('%d to %d'):format(first, last)
  c:text(c.right, c.bottom + 40, ('%s, %s'):format(years, chart.timezone or 'UTC'), 'end')
end

local function draw_thresholds(canvas, chart)
  local c = canvas
  for _, t in ipairs(chart.thresholds or {}) do
    local words = ('%s %s'):format(t.label or 'threshold', ticks.value_text(t.value, chart.unit))
    if t.value > c.high or t.value < c.low then
      local above = t.value > c.high
      c:text(c.left + 8, above and c.top + 16 or c.bottom - 8,
        words .. (above and ' lies above ↑' or ' lies below ↓'), nil, 'red strong')
    else
      local y = c.sy(t.value)
      c:line('threshold', c.left, y, c.right, y)
      c:text(c.left + 8, y - 8 < c.top + 12 and y + 18 or y - 8, words, nil, 'red strong')
    end
  end
end

local function draw_markers(canvas, chart)
  local c = canvas
  -- All halos lie below all markers: one in a row would hide the marker before it.
  for _, m in ipairs(chart.markers or {}) do
    if m.kind == 'anomaly' then c:circle('halo', c.sx(m.at), c.sy(m.value), 4.1) end
  end
  for _, m in ipairs(chart.markers or {}) do
    local x, y = c.sx(m.at), c.sy(m.value)
    if m.kind == 'anomaly' then
      c:circle('anomaly', x, y, 3.5)
    else
      c:line('threshold drop', x, y, x, c.bottom)
      c:circle('breach', x, y, 5.5)
      if m.text then
        -- On the far side of the threshold, where the line has not been yet.
        local y_text = c.sy(m.from or m.value) < y and y + 20 or y - 12
        local on_left = x > (c.left + c.right) / 2
        c:text(on_left and x + 6 or x - 6, y_text, m.text, on_left and 'end' or nil, 'red strong')
      end
    end
  end
end

local function draw_now(canvas, chart)
  local c = canvas
  if not chart.now or chart.now < c.from or chart.now >= c.to then return end
  local x = c.sx(chart.now)
  c:add('<rect class="future" x="%s" y="%s" width="%s" height="%s"/>', short(tenths(x)),
    short(tenths(c.top)), short(tenths(c.right - x)), short(tenths(c.bottom - c.top)))
end

local function draw_lines(canvas, chart)
  local c = canvas
  c:add('<g clip-path="url(#area)">')
  for _, band in ipairs(chart.bands or {}) do
    local d = path_of(band_points(band, c.sx, c.sy))
    if d ~= '' then c:add('<path class="band" d="%sz"/>', d) end
  end
  for _, line in ipairs(chart.lines) do
    local d = path_of(thin(line.ds, line.y, c.sx, c.sy))
    if d ~= '' then c:add('<path class="%s" d="%s"/>', line.kind or 'history', d) end
  end
  c:add '</g>'
end

local function describe(chart, c, zone)
  local words = { ('%s, from %s to %s'):format(chart.title, ticks.time_text(c.from, zone),
    ticks.time_text(c.to, zone)) }
  for _, t in ipairs(chart.thresholds or {}) do
    words[#words + 1] = ('threshold %s'):format(ticks.value_text(t.value, chart.unit))
  end
  for _, m in ipairs(chart.markers or {}) do words[#words + 1] = m.text end
  return table.concat(words, '; ')
end

--- A chart as SVG.
---@param chart plot.Chart
---@return string? svg
---@return string? message  there is no such time zone
function plot.chart(chart)
  local zone, message = calendar.zone(chart.timezone or 'UTC')
  if not zone then return nil, message end
  local width, height = chart.width or 960, chart.height or 400
  local range = value_range(chart)
  local c = setmetatable({ out = {}, width = width, top = chart.subtitle and 88 or 70,
    right = width - 24, bottom = height - 54 }, Canvas)
  local marks
  marks, c.low, c.high = ticks.values(range.low, range.high, math.max(2, (c.bottom - c.top) // 55),
    chart.unit)
  local widest = 0
  for _, m in ipairs(marks) do widest = math.max(widest, length(m.text)) end
  c.left = 24 + WIDTH * widest + 8
  c.from, c.to = time_range(chart)
  function c.sx(t) return c.left + (t - c.from) / (c.to - c.from) * (c.right - c.left) end
  function c.sy(v) return c.bottom - (v - c.low) / (c.high - c.low) * (c.bottom - c.top) end

  c:add('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" '
    .. 'role="img" aria-label="%s">', width, height, width, height, escape(chart.title))
  c:add('<desc>%s</desc>', escape(describe(chart, c, zone)))
  c:add(style())
  c:add('<clipPath id="area"><rect x="%s" y="%s" width="%s" height="%s"/></clipPath>',
    short(tenths(c.left)), short(tenths(c.top)), short(tenths(c.right - c.left)),
    short(tenths(c.bottom - c.top)))
  c:add('<rect class="ground frame" x=".5" y=".5" width="%d" height="%d" rx="8"/>', width - 1,
    height - 1)
  c:text(24, 32, cut(chart.title, width // 10), nil, 'title')
  if chart.subtitle then c:text(24, 52, cut(chart.subtitle, width // 7)) end
  draw_now(c, chart)
  draw_legend(c, chart, c.top - 14)
  draw_axes(c, chart, marks, zone)
  draw_lines(c, chart)
  draw_thresholds(c, chart)
  draw_markers(c, chart)
  c:add '</svg>\n'
  return table.concat(c.out)
end

--- A value with its unit, for a person.
plot.value_text = ticks.value_text
plot.unit_of = ticks.unit_of
plot.time_text = ticks.time_text
plot.day_text = ticks.day_text

-- -- the terminal ---------------------------------------------------------------------------------

local BLOCKS = { '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█' }

--- A line of blocks, one for each of `width` equal shares of the values: the share's mean, from the
--- least of all (▁) to the greatest (█); a blank where there is none.
---@param values number[]  NaN for a missing one
---@param width integer
---@param low? number      what ▁ stands for, and
---@param high? number     what █ stands for, where several lines are to be compared
---@return string
function plot.sparkline(values, width, low, high)
  local n = #values
  local columns = math.min(width, n)
  local means, least, most = {}, math.huge, -math.huge
  for c = 1, columns do
    local sum, count = 0, 0
    for i = (c - 1) * n // columns + 1, c * n // columns do
      if is_finite(values[i]) then sum, count = sum + values[i], count + 1 end
    end
    local mean = count > 0 and sum / count or 0 / 0
    means[c] = mean
    if mean < least then least = mean end
    if mean > most then most = mean end
  end
  low, high = low or least, high or most
  for c, mean in ipairs(means) do
    if mean ~= mean then
      means[c] = ' '
    elseif high - low <= 1e-9 * math.max(math.abs(high), math.abs(low)) then
      means[c] = BLOCKS[4]
    else
      local share = (mean - low) / (high - low)
      means[c] = BLOCKS[math.max(1, math.min(8, 1 + math.floor(share * 8)))]
    end
  end
  return table.concat(means)
end

return plot
