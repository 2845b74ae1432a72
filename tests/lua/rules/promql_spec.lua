local promql = require 'rules.promql'

--- What is said of an expression, as "line:column: words".
local function said(expr)
  local message, at = promql.problem(expr)
  return message and (at and ('%d:%d: '):format(at.line, at.column) or '') .. message
end

describe('an expression', function()
  for _, expr in ipairs {
    'up', 'up == 0', '-up', '- - up', 'up > -1', '1 + +1', 'a ^ -b', '2e-3 * 1e+5', '.5', 'Inf',
    'sum by (a, b) (rate(x{a="(", b=~"]|}", c!~\'"\'}[5m])) / on () group_left (c) y > bool 3',
    'x[5m:1m] offset -5m @ 1609746000', 'x @ end()', 'time()', 'a and b or (c unless d)',
    '{a="b",}',
    'x{} # a comment with "( \n - y', '`a\nb` == "c\\"d"',
    'label_replace(x, "a", "$1", "b", "(.*)")',
    'quantile_over_time(0.9, rate(x[1m])[1h:])', 'a <= b >= c != d == e < f > g % h', '"x-y" + 1',
    'WITH (a = b) a default 0',
    'x[$__interval]', '{"x.y", a="b"}', 'sum(x) by (or)', 'rate(x[5m] )',
    'x{a="=", b!="=="}', 'max(\n  x, # this\n  y\n)', 'größe > 1', 'x[5m * 2]', 'x[-1i]',
  } do
    it('such as ' .. expr:gsub('\n', ' ') .. ' is let be', function()
      assert.is_nil(said(expr))
    end)
  end

  for expr, wanted in pairs {
    [''] = 'the expression is empty', [' # up\n'] = 'the expression is empty',
    ['sum(up'] = '1:4: "(" is not closed', ['a\n  )'] =
      '2:3: there is no bracket that this ")" closes',
    ['rate(x[5m)'] = '1:10: "[" is closed by ")"', ['x{a="b}'] =
      '1:5: a text that begins here does not end',
    ['x{a="b\n"}'] = '1:5: a text that begins here does not end',
    ['up =='] = '1:5: nothing stands behind "=="', ['== 1'] = '1:1: nothing stands before "=="',
    ['a == > b'] = '1:6: nothing stands between "==" and ">"',
    ['(a *) + 1'] = '1:5: nothing stands behind "*"', ['sum(a, / b)'] =
      '1:8: nothing stands before "/"',
    ['a +'] = '1:3: nothing stands behind "+"', ['a >= < b'] =
      '1:6: nothing stands between ">=" and "<"', ['-'] = '1:1: nothing stands behind "-"',
  } do
    it(('such as %q is not'):format(expr), function() assert.equal(wanted, said(expr)) end)
  end
end)
