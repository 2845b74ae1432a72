--- An isolation forest by hand: two weeks of latency with its daily rhythm, one odd quarter of an
--- hour in it, and what the forest makes of that. perigee lua examples/by_hand/forest.lua
local isolation_forest = require 'isolation_forest'
local matrix = require 'matrix'

local STEP <const>, DAY <const> = 300, 86400
local samples <const> = 14 * DAY // STEP

-- Normal deviates, as the sum of uniform ones: the same with every run.
math.randomseed(7)
local function noise()
  local sum = -6
  for _ = 1, 12 do sum = sum + math.random() end
  return sum
end

-- Latency in milliseconds and requests a second; for 15 minutes on the last day latency is high
-- while there is hardly any traffic. Each of the two values alone is seen every day.
local rows, odd_from = {}, samples - 100
for i = 1, samples do
  local day = math.sin(2 * math.pi * (i * STEP % DAY) / DAY)
  local requests, latency = 500 + 300 * day + 15 * noise(), 80 + 40 * day + 3 * noise()
  if i >= odd_from and i < odd_from + 3 then requests, latency = 210, 125 end
  rows[i] = { latency, requests }
end
local X = matrix.from_rows(rows, { 'latency', 'requests' })

-- Splits over two features see what no single one shows.
local model = assert(isolation_forest.fit(X,
  { n_estimators = 100, contamination = 0.001, ndim = 2, random_state = 42 }))
local scores, flags = model:score_samples(X), model:predict(X)

local flagged, found = 0, 0
for i = 1, samples do
  if flags[i] == -1 then
    flagged = flagged + 1
    if i >= odd_from and i < odd_from + 3 then found = found + 1 end
  end
end
print(('%d of %d samples are flagged, %d of the 3 odd ones among them'):format(flagged, samples,
  found))
assert(found == 3)

local why = model:explain(rows[odd_from])
print(('sample %d scores %.3f (the offset is %.3f); latency adds %.3f, requests %.3f'):format(
  odd_from, scores[odd_from], model.offset, why[1] or why.latency, why[2] or why.requests))

-- What was learned can be kept, and is the same afterwards.
local again = assert(isolation_forest.deserialize(model:serialize()))
assert(again:score_samples(X)[odd_from] == scores[odd_from])
