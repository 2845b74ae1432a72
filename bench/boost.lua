--- Gradient boosting: training beside XGBoost's histograms (Debian's), in turns in the same run; of
--- each the fastest counts.
local lib = require 'lib'
local process = require 'perigee.process'

local PROGRAM = (lib.program:match '^(.*)/' or 'build') .. '/bench/boost'
local short = os.getenv 'BENCH_SHORT' == '1'

local function run(who, case, threads)
  local child = assert(process.start { PROGRAM, who, tostring(case.rows), tostring(case.columns),
    tostring(threads) })
  local status, output = child:wait(600)
  if status ~= 0 then return nil end
  local seconds, megabytes, loss = output:match '([%d.]+) ([%d.]+) ([%d.]+)'
  return tonumber(seconds), tonumber(megabytes), tonumber(loss)
end

local CASES = short and { { rows = 100000, columns = 8, goal = 0.8, rounds = 3 } } or {
  { rows = 100000, columns = 8, goal = 0.8, rounds = 5 },
  { rows = 100000, columns = 32, goal = 0.8, rounds = 3 },
  { rows = 1000000, columns = 8, goal = 0.6, rounds = 3, most = 60 },
  { rows = 1000000, columns = 32, goal = 0.8, rounds = 2 },
}

for _, case in ipairs(CASES) do
  for _, threads in ipairs(short and { 1 } or { 1, 2 }) do
    local best, theirs, above, losses = math.huge, nil, 0, {}
    for _ = 1, case.rounds do
      local seconds, megabytes, loss = run('ours', case, threads)
      best, above, losses[1] = math.min(best, assert(seconds)), megabytes, loss
      local other, _, their_loss = run('xgboost', case, threads)
      if other then theirs, losses[2] = math.min(theirs or other, other), their_loss end
    end
    local what = ('%d x %d, %d thread%s'):format(case.rows, case.columns, threads,
      threads > 1 and 's' or ' (CPU)')
    lib.row('training, 100 trees of depth 5: ' .. what, ('%.2f'):format(best), 's')
    if theirs then
      lib.at_most(('  as a share of XGBoost\'s %.2f s'):format(theirs), best / theirs, '',
        case.goal, '%.2f')
      lib.at_most('  log-loss on the rows trained on, XGBoost\'s ' .. losses[2], losses[1], '',
        losses[2] + 0.005, '%.4f')
    else
      lib.row('  as a share of XGBoost\'s', 'not measured', '')
    end
    if case.most then lib.at_most('  memory above the data', above, 'MB', case.most, '%.0f') end
  end
end
