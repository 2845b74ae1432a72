--- How late timers are while a model is trained on ten million rows: training has the worker
--- threads, the loop has to stay free.
local async = require 'async'
local clock = require 'perigee.clock'
local gradient_boosting = require 'gradient_boosting'
local lib = require 'lib'
local matrix = require 'matrix'

local ROWS <const> = os.getenv 'BENCH_SHORT' and 1000000 or 10000000
local FEATURES <const>, PERIOD <const> = 8, 0.01

math.randomseed(1)
local X
do
  local columns = {}
  for j = 1, FEATURES do
    local column = {}
    for i = 1, ROWS do column[i] = math.random() end
    columns[j] = column
  end
  X = matrix.from_columns(columns)
end
local y = {}
for i = 1, ROWS do y[i] = X:get(i, 1) + X:get(i, 2) + 0.3 * math.random() > 1.4 and 1 or 0 end
collectgarbage()

local late, training = {}, true
local timers = async.spawn(function()
  local due = clock.monotonic() + PERIOD
  while training do
    async.sleep(math.max(0, due - clock.monotonic()))
    late[#late + 1] = clock.monotonic() - due
    due = clock.monotonic() + PERIOD
  end
end)
local began = clock.monotonic()
assert(gradient_boosting.fit(X, y, { n_estimators = 50, random_state = 1 }))
local seconds = clock.monotonic() - began
training = false
timers:await()

table.sort(late)
lib.row(('training, %d million rows, 50 trees'):format(ROWS // 1000000),
  ('%.1f'):format(seconds), 's')
lib.at_most(('of %d timers meanwhile, 99 %% late by'):format(#late),
  1000 * late[math.ceil(0.99 * #late)], 'ms', 5)
lib.row('the latest of them', ('%.1f'):format(1000 * late[#late]), 'ms')
