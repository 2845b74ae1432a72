local plot = require 'plot'

--- That a text is well-formed XML: every element closed in order, no bare & or <. Returns how often
--- each element is there.
local function elements(svg)
  local open, count, at = {}, {}, 1
  while true do
    local first, last, inner = svg:find('<([^>]*)>', at)
    local text = svg:sub(at, (first or #svg + 1) - 1)
    assert(not text:gsub('&%w+;', ''):gsub('&#%d+;', ''):find '[&<>]', text)
    if not first then break end
    local name = inner:match '^/?([%a]+)'
    if inner:sub(1, 1) == '/' then
      assert(table.remove(open) == name, 'closes ' .. name)
    else
      count[name] = (count[name] or 0) + 1
      for _, value in inner:gmatch '([%a-]+)="([^"]*)"' do assert(not value:find '<', value) end
      if inner:sub(-1) ~= '/' then open[#open + 1] = name end
    end
    at = last + 1
  end
  assert(#open == 0, 'left open: ' .. table.concat(open, ' '))
  return count
end

local function ramp(n, step)
  local ds, y = {}, {}
  for i = 1, n do ds[i], y[i] = 1.7e9 + i * (step or 3600), i end
  return ds, y
end

--- All points of a path, moved into pixels.
local function points_of(d)
  local out, x, y = {}, 0, 0
  for op, rest in d:gmatch '([MlhvzZ])([^MlhvzZ]*)' do
    local a, b = rest:match '^(%-?[%d.]+) ?(%-?[%d.]*)$'
    a, b = tonumber(a), tonumber(b)
    if op == 'M' then x, y = a, b
    elseif op == 'l' then x, y = x + a, y + b
    elseif op == 'h' then x = x + a
    elseif op == 'v' then y = y + a end
    if op ~= 'z' then out[#out + 1] = { x, y, op == 'M' } end
  end
  return out
end

local function path(svg, class) return svg:match('<path class="' .. class .. '" d="([^"]*)"') end

describe('plot.chart', function()
  it('is well-formed, whatever the texts and values', function()
    local ds, y = ramp(50)
    y[7], y[20], y[30] = 0 / 0, math.huge, -math.huge
    local svg = assert(plot.chart { title = '<b>&"\'\1\xff ü</b>', subtitle = 'a < b',
      lines = { { ds = ds, y = y, label = '</svg>' }, { ds = {}, y = {}, kind = 'forecast' } },
      bands = { { ds = ds, lower = y, upper = y, label = 'x & y' } },
      thresholds = { { value = 30, label = '<&' }, { value = 1e6 } },
      markers = { { kind = 'breach', at = ds[30], value = 30, text = '>>' },
        { kind = 'anomaly', at = ds[3], value = 3 } }, now = ds[25] })
    local count = elements(svg)
    assert.equal(2, count.path - 1) -- two with points, and the legend's own
    assert.truthy(svg:find('lies above', 1, true))
    assert.falsy(svg:find('<b>', 1, true))
    assert.falsy(svg:find 'nan')
    assert.falsy(svg:find 'inf')
  end)

  it('draws what cannot be scaled: nothing, one point, a flat line', function()
    for _, y in ipairs { {}, { 5 }, { 0 / 0 }, { 5, 5, 5 }, { 0, 0 }, { -1e300, 1e300 } } do
      local ds = ramp(#y)
      local svg = assert(plot.chart { title = 't', lines = { { ds = ds, y = y } } })
      elements(svg)
      assert.falsy(svg:find 'nan')
      assert.falsy(svg:find 'inf')
    end
  end)

  it('stays small, and loses no spike, when there are a million samples', function()
    local ds, y = ramp(200000, 60)
    for i = 1, #y do y[i] = math.sin(i / 100) end
    y[123456], y[150001] = 5, -5
    local svg = assert(plot.chart { title = 't', lines = { { ds = ds, y = y } } })
    assert.is_true(#svg < 50000, #svg)
    local least, most = math.huge, -math.huge
    for _, p in ipairs(points_of(path(svg, 'history'))) do
      least, most = math.min(least, p[2]), math.max(most, p[2])
    end
    local usual = assert(plot.chart { title = 't',
      lines = { { ds = { 1, 2, 3 }, y = { 5, -5, 5 } } } })
    local all = points_of(path(usual, 'history'))
    assert.near(all[1][2], least, 0.2)
    assert.near(all[2][2], most, 0.2)
  end)

  it('puts points where they belong, to a tenth of a pixel, and drifts nowhere', function()
    local ds, y = ramp(300)
    for i = 1, #y do y[i] = (i * 7919) % 101 end
    local svg = assert(plot.chart { title = 't', lines = { { ds = ds, y = y } } })
    local points = points_of(path(svg, 'history'))
    assert.equal(300, #points)
    local x1, x2 = points[1][1], points[300][1]
    for i, p in ipairs(points) do
      assert.near(x1 + (i - 1) / 299 * (x2 - x1), p[1], 0.11)
      local y0, y1 = points[1], points[2] -- two values fix the scale
      local share = (y[i] - y[1]) / (y[2] - y[1])
      assert.near(y0[2] + share * (y1[2] - y0[2]), p[2], 0.5)
    end
  end)

  it('draws what goes on level as one move', function()
    local ds, y = ramp(300)
    for i = 1, #y do y[i] = i < 100 and i or 100 end
    local d = path(assert(plot.chart { title = 't', lines = { { ds = ds, y = y } } }), 'history')
    assert.equal(1, select(2, d:gsub('h', '')))
    local points = points_of(d)
    assert.equal(101, #points)
    assert.near(points[1][1] + (points[100][1] - points[1][1]) / 99 * 299, points[101][1], 0.5)
  end)

  it('lets no halo lie on a marker', function()
    local markers, ds, y = {}, ramp(30)
    for i = 10, 20 do markers[#markers + 1] = { kind = 'anomaly', at = ds[i], value = y[i] } end
    local svg = assert(plot.chart { title = 't', lines = { { ds = ds, y = y } },
      markers = markers })
    local last_halo = svg:match '.*()<circle class="halo"'
    assert.is_true(last_halo < svg:find('<circle class="anomaly"', svg:find '</g>'))
    assert.equal(11, select(2, svg:gsub('<circle class="halo"', '')))
  end)

  it('breaks the line at missing values and at gaps in time', function()
    local ds, y = ramp(30)
    y[10] = 0 / 0
    for i = 20, 30 do ds[i] = ds[i] + 40 * 3600 end
    local svg = assert(plot.chart { title = 't', lines = { { ds = ds, y = y } } })
    local begins = 0
    for _, p in ipairs(points_of(path(svg, 'history'))) do begins = begins + (p[3] and 1 or 0) end
    assert.equal(3, begins)
  end)

  it('does not let a far threshold or a wild interval flatten the line', function()
    local ds, y = ramp(100)
    local lower, upper = {}, {}
    for i = 1, #y do lower[i], upper[i] = -1e9, 1e9 end
    local svg = assert(plot.chart { title = 't', lines = { { ds = ds, y = y } },
      bands = { { ds = ds, lower = lower, upper = upper } }, thresholds = { { value = 1e8 } } })
    local points = points_of(path(svg, 'history'))
    assert.is_true(points[1][2] - points[#points][2] > 60)
    assert.truthy(svg:find('threshold 100 M lies above', 1, true))
  end)

  it('knows the zones of the system, and says where there is none', function()
    local ds, y = ramp(10)
    local lines = { { ds = ds, y = y } }
    assert.truthy(plot.chart { title = 't', lines = lines, timezone = 'Europe/Berlin' }
      :find('Europe/Berlin', 1, true))
    local svg, message = plot.chart { title = 't', lines = lines, timezone = 'Mars/Base' }
    assert.is_nil(svg)
    assert.truthy(message:find('Mars/Base', 1, true))
  end)

  it('tells a unit by the name of the metric', function()
    assert.equal('bytes', plot.unit_of 'node_filesystem_used_bytes{mountpoint="/"}')
    assert.equal('seconds', plot.unit_of 'http_request_duration_seconds')
    assert.equal('percent', plot.unit_of 'disk_used_ratio')
    assert.is_nil(plot.unit_of 'up')
    assert.is_nil(plot.unit_of(nil))
  end)
end)

describe('plot.sparkline', function()
  it('draws each share of the values from the least to the greatest', function()
    assert.equal('▁▂▃▄▅▆▇█', plot.sparkline({ 1, 2, 3, 4, 5, 6, 7, 8 }, 8))
    assert.equal('▁▃▆█', plot.sparkline({ 1, 1, 2, 2, 3, 3, 4, 4 }, 4))
    assert.equal(20, utf8.len(plot.sparkline((select(2, ramp(999))), 20)))
  end)

  it('leaves blank what is missing, and draws a flat line in the middle', function()
    assert.equal('▁ █', plot.sparkline({ 1, 0 / 0, 2 }, 3))
    assert.equal('▄▄', plot.sparkline({ 7, 7 }, 2))
    assert.equal('▄▄', plot.sparkline({ 3e11, 3e11 + 1e-4 }, 2))
    assert.equal('', plot.sparkline({}, 5))
    assert.equal('▁▁█', plot.sparkline({ -9, 0, 99 }, 3, 0, 10))
  end)
end)
