--- What the specs of detectors share.
local support = {}

--- What a detector makes of options that are wrong, without the place: that is the line which
--- called.
function support.refusal(detector, options)
  local line, made
  local ok, message = pcall(function()
    line = debug.getinfo(1, 'l').currentline made = detector(options)
  end)
  assert(not ok and not made, 'these options are taken')
  local at = 'tests/lua/detectors/support.lua:' .. line .. ': '
  assert(message:sub(1, #at) == at, message)
  return message:sub(#at + 1)
end

--- Whether two numbers are the same but for rounding.
function support.close(a, b) return math.abs(a - b) <= 1e-12 * math.max(1, math.abs(b)) end

--- 1, 2, … n.
function support.upto(n)
  local out = {}
  for i = 1, n do out[i] = i end
  return out
end

--- Random numbers in [0, 1) from a seed, the same on every machine.
function support.random(seed)
  local x = seed * 2654435761 % 0x100000000 | 1
  return function()
    x = x ~ (x << 13) & 0xffffffff
    x = x ~ (x >> 17)
    x = x ~ (x << 5) & 0xffffffff
    return x / 0x100000000
  end
end

support.NAN, support.INF = 0 / 0, math.huge

return support
