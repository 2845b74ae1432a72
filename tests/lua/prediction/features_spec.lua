local features = require 'prediction.features'

local function item(labels, value) return { labels = labels, value = value } end

--- The groups as texts: labels, then the value of each feature.
local function joined(found, group_by)
  local groups, message = features.join({ 'a', 'b' }, found, group_by)
  if not groups then return message end
  local out = {}
  for i, g in ipairs(groups) do
    local a, b = g.items.a, g.items.b
    out[i] = ('%s: %s %s'):format(g.labels.app or '-', a and a.value or 'none',
      b and b.value or 'none')
  end
  return out
end

describe('features', function()
  it('of the same labels are one group, whatever their names', function()
    assert.same({ 'x: 1 3', 'y: 2 none' }, joined {
      a = { item({ __name__ = 'cpu', app = 'x' }, 1), item({ __name__ = 'cpu', app = 'y' }, 2) },
      b = { item({ __name__ = 'mem', app = 'x' }, 3) } })
  end)

  it('without labels belong to every group', function()
    assert.same({ 'x: 1 9', 'y: 2 9' }, joined { a = { item({ app = 'x' }, 1),
      item({ app = 'y' }, 2) }, b = { item({}, 9) } })
    assert.same({ '-: 1 2' }, joined { a = { item({}, 1) }, b = { item({}, 2) } })
  end)

  it('are grouped by the labels that are named', function()
    local found = { a = { item({ app = 'x', pod = '1' }, 1) }, b = { item({ app = 'x' }, 2) } }
    assert.equal(2, #joined(found))
    assert.same({ 'x: 1 2' }, joined(found, { 'app' }))
  end)

  it('are no group where there is nothing', function() assert.same({}, joined {}) end)

  it('must be told apart', function()
    local twice = { item({ app = 'x', pod = '1' }, 1), item({ app = 'x', pod = '2' }, 2) }
    assert.matches('feature a gives several series for one group; aggregate it by app',
      joined({ a = twice }, { 'app' }))
    assert.matches('feature a gives several series without labels',
      joined({ a = { item({ pod = '1' }, 1), item({ pod = '2' }, 2) } }, { 'app' }))
  end)
end)

describe('the rows of a history', function()
  local GRID = { start = 0, stop = 1000, step = 100 }
  local function series(labels, y)
    local ds = {}
    for i = 1, #y do ds[i] = (i - 1) * 100 end
    return { labels = labels, ds = ds, y = y }
  end
  local function rows(alerts, group_labels)
    local s = series(group_labels or {}, { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 })
    local groups = { { labels = group_labels or {}, items = { a = s } } }
    return features.rows({ 'a', 'b' }, groups, alerts, GRID, 300)
  end
  local function text(r)
    local out = {}
    for i, y in ipairs(r.y) do
      out[i] = ('%d:%s'):format(r.columns[1][i], y ~= y and '?' or ('%d'):format(y))
    end
    return table.concat(out, ' ')
  end

  it('look ahead to the alert, leave it out, and end where nothing is known', function()
    local r = rows { { labels = {}, ds = { 500, 600 }, y = { 1, 1 } } }
    assert.equal('0:0 1:0 2:1 3:1 4:1 7:0 8:? 9:? 10:?', text(r))
    assert.equal(2, r.excluded)
    assert.is_true(r.columns[2][1] ~= r.columns[2][1])
    assert.equal(700, r.times[6])
  end)

  it('know the outcome near the end where the alert fires in time', function()
    assert.equal('0:0 1:0 2:0 3:0 4:0 5:0 6:0 7:1 8:1 9:1',
      text(rows { { labels = {}, ds = { 1000 }, y = { 1 } } }))
  end)

  it('are concerned by alerts that no label contradicts', function()
    local function of(labels)
      return rows({ { labels = labels, ds = { 500 }, y = { 1 } } }, { app = 'x' }).excluded
    end
    assert.same({ 1, 1, 0 }, { of { alertname = 'A' }, of { app = 'x', pod = '1' },
      of { app = 'y' } })
  end)
end)
