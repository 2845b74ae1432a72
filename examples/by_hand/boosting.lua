--- Gradient boosting by hand: learn from past failures how likely one is within the hour, and why.
--- perigee lua examples/by_hand/boosting.lua
local gradient_boosting = require 'gradient_boosting'
local matrix = require 'matrix'

-- A service fails mostly when memory is nearly gone and the collector pauses long; one sample in
-- fifty comes without its pause.
math.randomseed(3)
local rows, failed = {}, {}
for i = 1, 6000 do
  local memory, pause, load = math.random(), 200 * math.random() ^ 3, 10 * math.random()
  local logit = -6 + 9 * math.max(0, memory - 0.6) + pause / 40
  failed[i] = math.random() < 1 / (1 + math.exp(-logit)) and 1 or 0
  rows[i] = { memory, i % 50 == 0 and 0 / 0 or pause, load }
end
local X = matrix.from_rows(rows, { 'memory_usage', 'gc_pause_time', 'request_rate' })

-- What is learned on the first part is proved on the last: time does not leak.
local train, test = 4500, 1500
local past = table.move(failed, 1, train, 1, {})
local model = assert(gradient_boosting.fit(X:slice(1, train), past,
  { n_estimators = 60, max_depth = 3, random_state = 42 }))

local p, base, loss, base_loss = model:predict_proba(X:slice(train + 1)), 0, 0, 0
for i = 1, train do base = base + past[i] / train end
for i = 1, test do
  local y = failed[train + i]
  loss = loss - math.log(y == 1 and p[i] or 1 - p[i]) / test
  base_loss = base_loss - math.log(y == 1 and base or 1 - base) / test
end
print(('log-loss %.3f; %.3f for always saying %.1f %%'):format(loss, base_loss, 100 * base))
assert(loss < base_loss)

-- Why this very prediction: contributions to the margin, which sum to it.
local row = { 0.97, 180, 2 }
local why, margin = model:explain(row), model:predict_raw({ row })[1]
local sum = why.bias
for i, name in ipairs(model.feature_names) do
  local contribution = why.contributions[i] or why.contributions[name]
  sum = sum + contribution
  print(('%-14s %7.2f  %+.3f'):format(name, row[i], contribution))
end
print(('P(failure) = %.3f'):format(model:predict_proba({ row })[1]))
assert(math.abs(sum - margin) < 1e-5)
