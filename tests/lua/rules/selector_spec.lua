local selector = require 'rules.selector'

local LABELS = { a = 'x', b = 'y"z\\', job = 'shop' }

describe('a selector', function()
  for text, wanted in pairs {
    ['{a="x"}'] = true, ['{a="y"}'] = false, ['{a!="y"}'] = true, ['{a!="x"}'] = false,
    ['{a=~"x|y"}'] = true, ['{a=~"."}'] = true, ['{job=~"sho"}'] = false, ['{job!~"sho"}'] = true,
    ['{job!~"sh.*",}'] = false, ['{a="x", job="shop"}'] = true, ['{a="x",job="shops"}'] = false,
    ['{none=""}'] = true, ['{none!=""}'] = false, ['{none=~".*"}'] = true,
    ['{b="y\\"z\\\\"}'] = true, ["{b='y\"z\\\\'}"] = true, ['{b=`y"z\\`}'] = true,
    ['{ a = \'x\' , job !~ "" }'] = true, ['up'] = false, ['up{a="x"}'] = false,
    ['{__name__="", a="x"}'] = true,
  } do
    it('reads ' .. text, function()
      assert.equal(wanted, selector.matches(assert(selector.parse(text)), LABELS))
    end)
  end

  it('that is none is refused', function()
    for _, text in ipairs { '', '{', '{}', '{a}', '{a=x}', '{a="x"', '{a="x"} 1', '{a=="x"}',
      '{a~"x"}', '{a=~"("}', '{a="x" b="y"}', '{"a"="x"}', '{a="\\q"}', 'up +', '{,}', '{a=\'x"}',
      'rate(up[5m])' } do
      local matchers, message = selector.parse(text)
      assert.is_nil(matchers, text)
      assert.is_string(message)
    end
  end)
end)
