--- What the specs of prediction share: metrics of a service that fails now and then, made up from a
--- seed, the same on every machine.
local file = require 'perigee.file'
local matrix = require 'matrix'

local support = {}

support.NAMES = { 'cpu_usage', 'memory_usage', 'error_rate', 'thread_count' }

--- Numbers in [0, 1) from a seed.
function support.uniform(seed)
  local x = seed * 2654435761 % 0x100000000 | 1
  return function()
    x = x ~ (x << 13) & 0xffffffff
    x = x ~ (x >> 17)
    x = x ~ (x << 5) & 0xffffffff
    return x / 0x100000000
  end
end

--- One row: cpu has a day, memory leaks and is reclaimed, errors come in bursts; thread_count means
--- nothing. A failure follows where memory is short and errors are many.
local function row(i, random)
  local function normal() return random() + random() + random() + random() - 2 end
  local leak = i % 400 / 400
  local cpu = 50 + 30 * math.sin(i / 288 * 2 * math.pi) + 8 * normal()
  local memory = 40 + 45 * leak + 4 * normal()
  local errors = math.max(0, 0.01 + 0.01 * normal() + (random() < 0.1 and 0.05 or 0))
  local z = -5 + 0.13 * (memory - 65) + 35 * errors
  return { cpu, memory, errors, 150 + 10 * normal() }, random() < 1 / (1 + math.exp(-z)) and 1 or 0
end

--- n rows, five minutes apart.
---@return { X: matrix.Matrix, y: number[], times: number[], rows: number[][] }
function support.service(n, seed)
  local random, rows, y, times = support.uniform(seed or 1), {}, {}, {}
  for i = 1, n do
    rows[i], y[i] = row(i, random)
    times[i] = 1780000000 + 300 * i
  end
  return { X = matrix.from_rows(rows, support.NAMES), y = y, times = times, rows = rows }
end

--- The same as a CSV file with the columns time, the features, failure.
function support.write_csv(path, data)
  local lines = { 'time,' .. table.concat(support.NAMES, ',') .. ',failure' }
  for i, r in ipairs(data.rows) do
    local fields = { ('%d'):format(data.times[i]) }
    for j, v in ipairs(r) do fields[j + 1] = v == v and ('%.17g'):format(v) or '' end
    fields[#fields + 1] = ('%d'):format(data.y[i])
    lines[i + 1] = table.concat(fields, ',')
  end
  assert(file.write(path, table.concat(lines, '\n') .. '\n'))
end

--- Codes of warnings, in order.
function support.codes(warnings)
  local out = {}
  for i, w in ipairs(warnings) do out[i] = w.code end
  return out
end

return support
