local inspect = require 'prediction.inspect'
local matrix = require 'matrix'
local support = require 'lua.prediction.support'

local NAN = 0 / 0

--- Codes and features of the warnings about columns.
local function warnings(columns, y, ordered)
  local names, values = {}, {}
  for i, c in ipairs(columns) do names[i], values[i] = c[1], c[2] end
  local out = {}
  for i, w in ipairs(inspect.columns(matrix.from_columns(values, names), y, ordered)) do
    out[i] = w.code .. (w.feature and ' ' .. w.feature or '')
  end
  return out
end

describe('the data', function()
  local data = support.service(3000)
  local function column(f)
    local out = {}
    for i = 1, #data.y do out[i] = f(i, data.y[i]) end
    return out
  end
  local honest = data.X:column 'memory_usage'

  it('of an honest service is not complained of', function()
    assert.same({}, support.codes(inspect.columns(data.X, data.y, true)))
  end)

  it('leaks where a feature alone tells the failure', function()
    local random = support.uniform(9)
    local leak = column(function(_, y) return y + 0.5 * random() end)
    local inverse = column(function(i) return -leak[i] end)
    local absent = column(function(_, y) return y == 1 and NAN or random() end)
    assert.same({ 'label_leak leak', 'label_leak inverse', 'label_leak absent' },
      warnings({ { 'honest', honest }, { 'leak', leak }, { 'inverse', inverse },
        { 'absent', absent } }, data.y, true))
  end)

  it('has columns that tell nothing, or the time', function()
    local same, none = column(function() return 7 end), column(function() return NAN end)
    local clock = column(function(i) return i * 60 end)
    local columns = { { 'same', same }, { 'none', none }, { 'clock', clock } }
    assert.same({ 'constant_feature same', 'constant_feature none', 'clock clock' },
      warnings(columns, data.y, true))
    assert.same({ 'constant_feature same', 'constant_feature none' },
      warnings(columns, data.y, false))
  end)

  it('has too few failures', function()
    local y = column(function(i) return i % 100 == 0 and 1 or 0 end)
    assert.same({ 'few_failures' }, warnings({ { 'honest', honest } }, y, true))
  end)
end)

describe('a split', function()
  local data = support.service(3000)
  local function part(first, last)
    return { X = data.X:slice(first, last), y = table.move(data.y, first, last, 1, {}) }
  end

  it('of an honest service is not complained of', function()
    assert.same({}, support.codes(inspect.split(part(1, 2400), part(2401, 3000))))
  end)

  it('has rows on both sides', function()
    assert.same({ 'duplicates' }, support.codes(inspect.split(part(1, 2400), part(2301, 3000))))
  end)

  it('has parts that are not alike, or too few failures to tell', function()
    local quiet, noisy = part(1, 2400), part(2401, 3000)
    for i = 1, #noisy.y do noisy.y[i] = i % 2 end
    assert.same({ 'unbalanced_split' }, support.codes(inspect.split(quiet, noisy)))
    for i = 1, #noisy.y do noisy.y[i] = i == 1 and 1 or 0 end
    assert.same({ 'few_failures_held_out' }, support.codes(inspect.split(quiet, noisy)))
  end)
end)
