--- A forecast by hand: a disk that fills, with a rhythm over the day and the week; when is it full?
--- perigee lua examples/by_hand/forecast.lua
local seasonal = require 'seasonal'

local HOUR <const>, DAY <const> = 3600, 86400
local START <const> = 1767225600 -- 2026-01-01, a Thursday
local FULL <const> = 500

-- Thirty days by the hour: 4 GB more each day, less in the night, least on Sunday after a clean-up.
math.randomseed(11)
local ds, y = {}, {}
for i = 1, 30 * 24 do
  local t = START + i * HOUR
  ds[i] = t
  y[i] = 330 + 4 * (t - START) / DAY + 6 * math.sin(2 * math.pi * (t % DAY) / DAY)
    - 8 * ((t // DAY + 4) % 7 == 0 and 1 or 0) + 2 * (math.random() - 0.5)
end

-- "auto" is what `perigee forecast` uses; "prophet" is the pure model of Taylor and Letham.
for _, name in ipairs { 'prophet', 'auto' } do
  local model = assert(seasonal.fit(ds, y,
    { model = name, seasonality = { 'daily', 'weekly' }, random_state = 1 }))
  local future = model:make_future(7 * 24, HOUR)
  local forecast = model:predict(future)
  local highest = -math.huge
  for i = 1, #future do highest = math.max(highest, forecast.yhat_upper[i]) end
  local breach = model:time_to(FULL, 30 * DAY)
  print(('%-8s in seven days at most %.0f GB; %d GB in %s days (%.0f %% likely within 30)'):format(
    name, highest, FULL, breach.first and ('%.1f'):format(breach.first / DAY) or '-',
    100 * breach.probability))
  assert(breach.first and breach.first / DAY > 8 and breach.first / DAY < 16)
end
