--- How well probabilities are calibrated, as a picture: what was predicted against what came. One
--- text without scripts, fonts or links, which follows the reader's light or dark setting. Pure.
local prediction = require 'prediction'

local picture = {}

local SIZE, LEFT, TOP, SIDE = 480, 64, 48, 368

local STYLE = [[
<style>
text{font:12px system-ui,sans-serif;fill:#333}.title{font-size:15px;font-weight:600}
.page{fill:#fff}.grid{stroke:#ddd}.ideal{stroke:#888;stroke-dasharray:5 4}
.mark{fill:#2563eb;fill-opacity:.75}.line{stroke:#2563eb;stroke-width:2;fill:none}
.bar{stroke:#2563eb;stroke-opacity:.5}
@media(prefers-color-scheme:dark){text{fill:#ddd}.page{fill:#16181d}.grid{stroke:#33373f}
.mark{fill:#7aa5ff}.line,.bar{stroke:#7aa5ff}}
</style>
]]

local function escape(text)
  return (text:gsub('[%c\x80-\xFF]', '?'):gsub('[&<>"]', { ['&'] = '&amp;', ['<'] = '&lt;',
    ['>'] = '&gt;', ['"'] = '&quot;' }))
end

--- The end of the axes: the least of 1, 2 and 5 times a power of ten that holds everything.
local function scale_of(bins)
  local most = 1e-6
  for _, b in ipairs(bins) do most = math.max(most, b.mean_predicted, b.observed) end
  local power = 10 ^ math.floor(math.log(most, 10))
  for _, k in ipairs { 1, 2, 5, 10 } do
    if k * power >= most * 0.999999 then return math.min(1, k * power) end
  end
end

--- Wilson's interval of a share: what the observed rate could really be, at 95 %.
local function wilson(p, n)
  local z2 = 1.96 ^ 2
  local centre, half = (p + z2 / (2 * n)) / (1 + z2 / n),
    1.96 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
  return math.max(0, centre - half), math.min(1, centre + half)
end

local function axes(out, most)
  for k = 0, 5 do
    local at, text = k / 5 * SIDE, prediction.percent(most * k / 5)
    if k == 0 then text = '0 %' end
    out[#out + 1] = ('<path class="grid" d="M%d %.1fh%dM%.1f %dv%d"/>'):format(LEFT,
      TOP + SIDE - at, SIDE, LEFT + at, TOP, SIDE)
    out[#out + 1] = ('<text x="%d" y="%.1f" text-anchor="end">%s</text>'):format(LEFT - 6,
      TOP + SIDE - at + 4, text)
    out[#out + 1] = ('<text x="%.1f" y="%d" text-anchor="middle">%s</text>'):format(LEFT + at,
      TOP + SIDE + 18, text)
  end
  out[#out + 1] = ('<path class="ideal" d="M%d %dL%d %d"/>'):format(LEFT, TOP + SIDE, LEFT + SIDE,
    TOP)
  out[#out + 1] = ('<text x="%d" y="%d" text-anchor="middle">predicted</text>'):format(
    LEFT + SIDE // 2, TOP + SIDE + 38)
  out[#out + 1] = ('<text x="%d" y="%d">observed</text>'):format(8, TOP - 10)
end

--- The picture of a report.
---@param evaluation table
---@param title string
---@return string svg
function picture.calibration(evaluation, title)
  local bins, points = evaluation.calibration, {}
  local most = scale_of(bins)
  local function x_of(p) return LEFT + math.min(1, p / most) * SIDE end
  local function y_of(p) return TOP + SIDE - math.min(1, p / most) * SIDE end
  local out = { ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" '
    .. 'height="%d" role="img" aria-label="calibration">'):format(SIZE, SIZE, SIZE, SIZE), STYLE,
    ('<rect class="page" width="%d" height="%d"/>'):format(SIZE, SIZE),
    ('<text class="title" x="8" y="22">%s</text>'):format(escape(title)) }
  axes(out, most)
  for i, b in ipairs(bins) do
    local low, high = wilson(b.observed, b.count)
    local x = x_of(b.mean_predicted)
    points[i] = ('%.1f %.1f'):format(x, y_of(b.observed))
    out[#out + 1] = ('<path class="bar" d="M%.1f %.1fV%.1f"/>'):format(x, y_of(low), y_of(high))
    out[#out + 1] = ('<circle class="mark" cx="%.1f" cy="%.1f" r="4"><title>%d rows: predicted %s, '
      .. 'observed %s</title></circle>'):format(x, y_of(b.observed), b.count,
      prediction.percent(b.mean_predicted), prediction.percent(b.observed))
  end
  out[#out + 1] = ('<path class="line" d="M%s"/>'):format(table.concat(points, 'L'))
  out[#out + 1] = '</svg>\n'
  return table.concat(out, '\n')
end

return picture
