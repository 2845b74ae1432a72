--- Draws the pictures of docs/detectors.md, on data that is made up here. In the tree's root:
---   build/perigee lua docs/pictures/detection.lua
local file = require 'perigee.file'
local process = require 'perigee.process'

local START, STEP, DAYS = 1767571200, 300, 10 -- a Monday

--- Requests a second of a shop: busy by day, with noise.
local function usual(t, draw)
  local hour = t % 86400 / 3600
  return 60 + 45 * math.sin((hour - 9) / 24 * 2 * math.pi) + 4 * (draw() + draw() - 1)
end

local function random(seed)
  return function()
    seed = seed * 48271 % 0x7fffffff
    return seed / 0x7fffffff
  end
end

--- On the sixth day it freezes for five hours, on the eighth it is restless, and in the last night
--- twice as much comes as ever comes at night.
local function samples()
  local draw, lines, frozen = random(7), { 'ts,value' }, nil
  for i = 0, DAYS * 86400 // STEP - 1 do
    local t = START + i * STEP
    local value, day, hour = usual(t, draw), i * STEP // 86400, t % 86400 / 3600
    if day == 5 and hour >= 10 and hour < 15 then
      frozen = frozen or value
      value = frozen
    elseif day == 7 and hour >= 13 and hour < 15 then
      value = value + (i % 2 * 2 - 1) * 18
    elseif day == 9 and hour >= 2 and hour < 4 then
      value = 2.4 * value
    end
    lines[#lines + 1] = ('%d,%.3f'):format(t, value)
  end
  return table.concat(lines, '\n') .. '\n'
end

local folder = assert(file.temporary_folder 'perigee-pictures')
local data = folder .. '/http_requests_per_second.csv'
assert(file.write(data, samples()))

local function draw(name, ...)
  local argv = { file.executable(), 'detect', '--data', data, '--plot',
    ('docs/pictures/%s.svg'):format(name), ... }
  local status, out, err = assert(process.start(argv)):wait(60)
  assert(status == 0, err)
  print(out)
end
draw('isolation_forest', '--set', 'contamination=0.03')
draw('forecast_band', '--detector', 'forecast_band', '--set', 'interval_width=0.98')
assert(process.start { 'rm', '-rf', folder }):wait(60)
