local expression = require 'rules.expression'

local NAMES = { 'days_until_threshold', 'probability', 'x', 'y' }

local function holds(text, values)
  local condition, problem = expression.compile(text, NAMES)
  assert(condition, problem and problem.message)
  return condition(values or {})
end

local function problem(text)
  local condition, p = expression.compile(text, NAMES)
  assert(not condition, 'it is accepted: ' .. text)
  return ('%d:%d: %s'):format(p.line, p.column, p.message)
end

describe('a condition', function()
  it('compares numbers by name', function()
    assert.is_true(holds('days_until_threshold < 3', { days_until_threshold = 2.5 }))
    assert.is_false(holds('days_until_threshold < 3', { days_until_threshold = 3 }))
    assert.is_true(holds('x >= y and y ~= x', { x = 2, y = 1 }))
    assert.is_true(holds('x != 1', { x = 2 }))
  end)

  it('knows never', function()
    assert.is_false(holds('x < 1e300', { x = math.huge }))
    assert.is_true(holds('x == never and x >= math.huge', { x = math.huge }))
    assert.is_true(holds('not (x < never)', { x = math.huge }))
  end)

  it('is never true of NaN, whichever way it is asked', function()
    for _, sign in ipairs { '<', '<=', '>', '>=', '==', '~=' } do
      assert.is_false(holds('x ' .. sign .. ' 1', { x = 0 / 0 }))
      assert.is_false(holds('1 ' .. sign .. ' x', { x = 0 / 0 }))
    end
  end)

  -- Lua has the same ranks and the same meaning, so it can tell what is right.
  it('means what Lua means, for any expression', function()
    local seed = 7
    local function random(n)
      seed = (seed * 1103515245 + 12345) % 2147483648
      return seed // 65536 % n + 1
    end
    local number, condition
    function number(depth)
      local kind = depth <= 0 and random(2) or random(5)
      if kind == 1 then return ({ 'x', 'y' })[random(2)] end
      if kind == 2 then return ({ '0', '1', '2.5', '1e2', '.5' })[random(5)] end
      if kind == 3 then return '- ' .. number(depth - 1) end
      if kind == 4 then return '(' .. number(depth - 1) .. ')' end
      return number(depth - 1) .. ({ ' + ', '-', '*', ' / ' })[random(4)] .. ' '
        .. number(depth - 1)
    end
    function condition(depth)
      local kind = depth <= 0 and 1 or random(4)
      if kind == 1 then
        return number(2) .. ' ' .. ({ '<', '<=', '>', '>=', '==', '~=' })[random(6)] .. number(2)
      end
      if kind == 2 then return 'not (' .. condition(depth - 1) .. ')' end
      if kind == 3 then return '(' .. condition(depth - 1) .. ')' end
      return condition(depth - 1) .. ({ ' and ', ' or ' })[random(2)] .. condition(depth - 1)
    end
    local n = 0
    for _ = 1, 3000 do
      local text = condition(3)
      local values = { x = random(7) - 3.5, y = random(5) - 3 + 0.25 }
      if not text:find('- -', 1, true) and #text < 1000 then
        local expected = load('local x, y = ... return ' .. text)(values.x, values.y)
        -- 0/0 alone differs: here nothing holds of it.
        if not text:find '/' then
          assert.equal(expected, holds(text, values), text)
          n = n + 1
        end
      end
    end
    assert.is_true(n > 1000)
  end)

  it('says where it is wrong, and how', function()
    for text, expected in pairs {
      [''] = '1:1: expected a name or a number, not the end',
      ['days_untl_threshold < 3'] =
        '1:1: unknown name "days_untl_threshold"; did you mean "days_until_threshold"?',
      ['x <'] = '1:4: expected a name or a number, not the end',
      ['x < 3 3'] = '1:7: unexpected "3"',
      ['x'] = '1:1: a number is no condition: compare it with another',
      ['x + 1'] = '1:1: a number is no condition: compare it with another',
      ['(x < 1'] = '1:7: expected ")", not the end',
      ['x = 3'] = '1:3: unexpected "="; here it is "=="',
      ['x < 1 && y < 1'] = '1:7: unexpected "&&"; here it is "and"',
      ['!(x < 1)'] = '1:1: unexpected "!"; here it is "not"',
      ['x < 3d'] = '1:5: "3d" is no number; a time is a number of days',
      ['1 < x < 3'] = '1:7: comparisons are joined by "and" or "or"',
      ['x and y < 1'] = '1:1: "and" takes a condition, not a number',
      ['y < 1 or x'] = '1:10: "or" takes a condition, not a number',
      ['not x'] = '1:5: "not" takes a condition, not a number',
      ['(x < 1) + 1 > 0'] = '1:1: "+" takes a number, not a condition',
      ['x < (y < 1)'] = '1:5: "<" takes a number, not a condition',
      ['x < 1 or\n  y # 2'] = '2:5: unexpected "#"',
      ['x < "3"'] = '1:5: unexpected """',
      ['x < ü'] = '1:5: unexpected "ü"',
      ['os.exit() < 1'] = '1:1: unknown name "os.exit"; known are days_until_threshold, '
        .. 'probability, x, y',
      [('('):rep(60) .. 'x < 1' .. (')'):rep(60)] = '1:51: nested too deep',
      ['x < ' .. ('1'):rep(1000)] = '1:1: longer than 1000 bytes',
    } do
      assert.equal(expected, problem(text))
    end
  end)

  it('tells which names it uses', function()
    local _, used = expression.compile('x < 1 or not probability > 0.5', NAMES)
    assert.same({ x = true, probability = true }, used)
  end)

  it('never fails otherwise, whatever the text', function()
    local pieces = { 'x', 'y', '<', '>=', '(', ')', 'and', 'or', 'not', '-', '+', '3', '1e', '.',
      '\n', '\xff', '~', '=', 'true' }
    local seed = 3
    for _ = 1, 5000 do
      local text = {}
      for i = 1, 8 do
        seed = (seed * 1103515245 + 12345) % 2147483648
        text[i] = pieces[seed // 65536 % #pieces + 1]
      end
      local joined = table.concat(text, ' ')
      local condition, p = expression.compile(joined, NAMES)
      if condition then
        assert.is_boolean(condition { x = 1, y = 2 })
      else
        assert.is_string(p.message)
      end
    end
  end)
end)
