local clock = require 'perigee.clock'
local file = require 'perigee.file'
local log = require 'log'
local rules = require 'perigee.rules'
local support = require 'lua.engine.support'

local LOADING = { instructions = 10000000, allocated = 256 << 20 }
local EVALUATION = { instructions = 1000000, allocated = 64 << 20 }

after_each(support.tidy)

--- Runs a file's text in a cell of its own: what it declares, the fault, the cell.
local function run(source, name, folder)
  local cell = assert(rules.cell(name or 'rules/evil.lua', folder))
  local declared, fault = cell:run(source, LOADING)
  return declared.declarations, fault, cell
end

--- A function of a rule file, from the text of what returns it, as the engine calls it.
local function rule_function(body, limits)
  local declarations, fault, cell = run(
    ('signal "s" { query = "up", detector = (function() %s end)() }'):format(body))
  assert(not fault, fault and fault.message)
  local id = declarations[1].body.detector.id
  return function(...) return cell:call(limits or EVALUATION, id, ...) end, cell
end

--- The fault of a file, as a person reads it.
local function fault_of(source, name, folder)
  local _, fault = run(source, name, folder)
  assert(fault, 'there is no fault')
  return ('%s:%d: %s'):format(fault.file, fault.line, fault.message)
end

--- The fault of calling a rule's function.
local function called(body, ...)
  local ok, fault = rule_function(body)(...)
  assert(not ok, 'there is no fault')
  return fault
end

local function folder_with(files)
  local folder = support.folder()
  for name, text in pairs(files) do assert(file.write(folder .. '/' .. name, text)) end
  return folder
end

describe('a rule file sees', function()
  it('its words, the bounded libraries, and no more', function()
    local declarations = run [[
      local names = {}
      for name in pairs(_G) do names[#names + 1] = name end
      table.sort(names)
      signal "s" { query = table.concat(names, " ") }
    ]]
    assert.equal('_G _VERSION alert alertmanager assert combine error every forecast '
      .. 'forecast_band getmetatable github hour_of_week http incident ipairs isolation_forest '
      .. 'kubernetes '
      .. 'kubernetes_event math metric next '
      .. 'notify pairs pcall playbook prediction print ratio_to_baseline rawequal rawget rawlen '
      .. 'rawset require risk robust_z_score select setmetatable signal string table '
      .. 'threshold tonumber tostring trust type utf8 verify xpcall z_score',
      declarations[1].body.query)
  end)

  it('through no table or metatable anything else', function()
    -- Whatever can be reached by fields and metatables, from the globals and all that may be
    -- required, is looked at; what is a function is called with what an attacker would try.
    local declarations, fault = run [[
      local seen, found = {}, {}
      local function visit(value, path)
        local mt = getmetatable(value)
        if type(mt) == 'table' then visit(mt, path .. '<mt>') end
        if type(value) ~= 'table' or seen[value] then return end
        seen[value] = true
        for k, v in next, value do
          local at = path .. '.' .. tostring(k)
          for _, word in ipairs { 'open', 'popen', 'execute', 'getenv', 'getinfo', 'getregistry',
                                  'getupvalue', 'loadlib', 'dump', 'preload', 'wrap', 'c_module',
                                  'stdlib', 'compile', 'sethook', 'collectgarbage' } do
            if k == word then found[#found + 1] = at end
          end
          visit(v, at)
        end
      end
      visit(_G, '_G')
      visit(getmetatable(''), 'string')
      for _, name in ipairs { 'statistics', 'units', 'check' } do visit(require(name), name) end
      visit(signal, 'signal')
      local reference = incident 'x'
      visit(reference, 'reference')
      reference {}
      signal "s" { query = table.concat(found, ' ') }
    ]]
    assert.is_nil(fault and fault.message)
    assert.equal('', declarations[2].body.query)
  end)

  for code, words in pairs {
    ['os.execute "true"'] = 'rule files have no "os": they only declare, and the runtime acts',
    ['io.open "/etc/passwd"'] = 'rule files have no "io"',
    ['debug.getinfo(1)'] = 'rule files have no "debug"',
    ['coroutine.wrap(print)'] = 'rule files have no "coroutine"',
    ['package.loadlib()'] = 'rule files have no "package"',
    ['load "return 1"'] = 'rule files have no "load"',
    ['dofile "x"'] = 'rule files have no "dofile"',
    ['collectgarbage()'] = 'unknown name "collectgarbage"',
    ['string.dump(print)'] = "attempt to call a nil value (field 'dump')",
    ['getmetatable("").__index.x = 1'] = 'attempt to index a boolean value',
    ['setmetatable({}, { __gc = print })'] = 'in a rule no metatable has __gc',
    ['setmetatable({}, { __mode = "k" })'] = 'in a rule no metatable has __mode',
    ['require "http"'] = 'rule files cannot require "http"',
    ['require "kubernetes"'] = 'rule files cannot require "kubernetes"',
    ['require "os"'] = 'rule files cannot require "os"',
    ['require "perigee.store"'] = 'rule files cannot require "perigee.store"',
    ['require "perigee.ecdf"'] = 'rule files cannot require "perigee.ecdf"',
    ['require "engine.execute"'] = 'cannot require "engine.execute": cannot read',
    ['require "rules.sandbox"'] = 'cannot require "rules.sandbox": cannot read',
    ['require "../secret"'] = '"../secret" is no name of a file beside the rules',
    ['require "/etc/passwd"'] = '"/etc/passwd" is no name of a file beside the rules',
    ['require "a..b"'] = '"a..b" is no name of a file beside the rules',
    ['require ".a"'] = '".a" is no name of a file beside the rules',
    ['require "a\\0b"'] = 'cannot require "a',
    ['require(("a"):rep(201))'] = 'is no name of a file beside the rules',
    ['require ""'] = '"" is no name of a file beside the rules',
    ['require(1)'] = 'require takes the name of a module',
  } do
    it(('nothing by way of %s'):format(code), function()
      local fault = fault_of('local x\nx = ' .. (code:gsub('^(.-)%.x = 1$', '%1.x')), nil,
        support.folder())
      assert.matches('rules/evil.lua:2: ', fault, 1, true)
      assert.matches(words, fault, 1, true)
    end)
  end

  it('no bytecode, whoever brings it', function()
    local bytes = string.dump(function() return 1 end)
    assert.matches('attempt to load a binary chunk', fault_of(bytes), 1, true)
    assert.matches('attempt to load a binary chunk',
      fault_of('require "code"', nil, folder_with { ['code.lua'] = bytes }), 1, true)
  end)

  it('the files beside it, as long as it is loaded', function()
    local folder = folder_with { ['lib.lua'] = 'return { limit = 5 }' }
    local declarations, fault, cell = run([[
      local lib = require 'lib'
      signal "s" { query = 'up', every = lib.limit,
                   detector = function() return require 'other' end }
    ]], nil, folder)
    assert.is_nil(fault)
    assert.equal(5, declarations[1].body.every)
    local ok, late = cell:call(EVALUATION, declarations[1].body.detector.id)
    assert.is_nil(ok)
    assert.matches('files can be required only while the rules are loaded', late.message, 1, true)
  end)

  it('nothing of a file beside it that is none', function()
    local folder = folder_with { ['self.lua'] = 'return require "self"',
      ['big.lua'] = ('-'):rep(200000), ['wrong.lua'] = 'return {\n}}' }
    os.execute(("cd '%s' && mkdir folder.lua && mkfifo pipe.lua && ln -s loop.lua loop.lua"):format(
      folder))
    for name, words in pairs {
      folder = 'Is a directory', pipe = 'Invalid argument', missing = 'No such file or directory',
      loop = 'Too many levels of symbolic links', big = 'larger than 127 KiB',
      self = '"self" requires itself, perhaps by way of others',
      wrong = "wrong.lua:2: <eof> expected near '}'",
    } do
      assert.matches(words, fault_of(('require "%s"'):format(name), nil, folder), 1, true)
    end
  end)
end)

describe('what a rule file breaks', function()
  local VANDAL = [[
    string.format, string.find, table.concat, next, error, type, pairs = nil
    getmetatable(_G).__index = function() return print end
  ]]

  it('it breaks for itself alone', function()
    run(VANDAL)
    run [[
      string.format = function() return 'mine' end
      math.huge, table.unpack = 1, nil
      require('check').nearest = function() error 'mine' end
      require('statistics').mean = nil
    ]]
    local declarations, fault = run [[
      signal "s" { query = ('%d'):format(5), every = require('statistics').mean { 1, 3 } }
    ]]
    assert.is_nil(fault)
    assert.same({ query = '5', every = 2 }, declarations[1].body)
    assert.equal('5', ('%d'):format(5))
  end)

  it('does not reach what the engine gave it', function()
    local call = rule_function [[return function(value, about)
      about.labels.app, about.time, about.more = 'stolen', nil, about
      return value
    end]]
    local about = { labels = { app = 'shop' }, time = 5 }
    assert.is_true((call(1, about)))
    assert.same({ labels = { app = 'shop' }, time = 5 }, about)
  end)

  it('is no way to the functions of another file', function()
    local _, one = rule_function 'return function() return "one" end'
    local _, other = rule_function 'return function() return "other" end'
    assert.same({ true, 'one' }, { one:call(EVALUATION, 1) })
    assert.same({ true, 'other' }, { other:call(EVALUATION, 1) })
    for _, id in ipairs { 0, 2, -1, 1 << 31 } do
      local ok, fault = one:call(EVALUATION, id)
      assert.is_nil(ok)
      assert.is_string(fault.message)
    end
  end)
end)

describe('a result', function()
  it('is a copy of plain values, numbers to the last bit', function()
    local call = rule_function [[return function(x)
      local shared = { 1 }
      return { x, -0.0, 1 << 63, 0.1, 'h\u{e4}', { shared, shared }, [0] = true, n = false }, x, nil
    end]]
    local ok, t, n = call(1 / 0)
    assert.is_true(ok)
    assert.equal(1 / 0, n)
    assert.same({ 1 / 0, -0.0, math.mininteger, 0.1, 'hä', { { 1 }, { 1 } }, [0] = true,
      n = false }, t)
    assert.equal(-1 / 0, 1 / t[2])
    assert.is_true(select(2, call(0 / 0)) [1] ~= 0)
  end)

  for body, words in pairs {
    ['local t = {} t.t = t return t'] = 'is nested deeper than 16 tables, or in a circle',
    ['return { plan = { print } }'] = 'the result.plan[1] is a function; only plain values go here',
    ['return { [{}] = 1 }'] = 'the result has a key that is a table',
    ['return { reason = "\\xff" }'] = 'the result.reason is a text that is not UTF-8',
    ['return { ["\\xff"] = 1 }'] = 'is a text that is not UTF-8',
    ['local t = {} for i = 1, 100001 do t[i] = i end return t'] = 'holds more than 100000 values',
    ['local t = {} for i = 1, 20 do t = { t, t } end return t'] = 'nested deeper than 16',
    ['local t = {} for i = 1, 9 do t = { t, t, t, t } end return t'] =
      'holds more than 100000 values',
    ['local s, t = ("x"):rep(100000), {} for i = 1, 60000 do t[i] = s end return t'] =
      'there is more than 4 MiB of text',
  } do
    it(('is refused, at the function\'s line: %s'):format(body), function()
      local fault = called('\nreturn function()\n' .. body .. ' end')
      assert.matches(words, fault.message, 1, true)
      assert.same({ 'rules/evil.lua', 2 }, { fault.file, fault.line })
    end)
  end

  it('of the kernels is refused', function()
    local fault = called [[return function()
      local odd = {}
      for k, v in pairs(require 'statistics') do odd[k] = v end
      return odd
    end]]
    assert.matches('is a function; only plain values go here', fault.message, 1, true)
  end)

  it('beyond the eighth is not looked at', function()
    local call = rule_function
      'return function() return 1, 2, 3, 4, 5, 6, 7, 8, print end'
    assert.same({ true, 1, 2, 3, 4, 5, 6, 7, 8 }, { call() })
  end)
end)

describe('an error of a rule', function()
  it('is told with its line, whatever is raised', function()
    for raised, words in pairs {
      ['"boo"'] = 'boo', ['"boo", 0'] = 'boo', ['{}'] = 'error object is a table',
      [''] = 'error object is a nil', ['print'] = 'error object is a function',
      ['setmetatable({}, { __tostring = function() while true do end end })'] =
        'error object is a table',
      ['"\\xff\\xfe"'] = '??', ['"a\\nb"'] = 'a\nb',
      ['"lua/stdlib/check.lua:9: not mine", 0'] = 'not mine',
    } do
      local fault = called(('return function()\nerror(%s)\nend'):format(raised))
      assert.same({ 'rules/evil.lua', 2, words, 'error' },
        { fault.file, fault.line, fault.message, fault.kind })
    end
  end)

  it('in the standard library is told at the line that called it', function()
    local fault = called [[local s = require 'statistics'
      return function() return s.mean(
        5) end]]
    assert.equal(2, fault.line)
    assert.matches('expected an array of numbers', fault.message, 1, true)
  end)

  it('is told with the whole name of its file, however long', function()
    local name = '/etc/perigee/' .. ('region/'):rep(12) .. 'checkout.lua'
    for source, line in pairs { ['\nerror "boo"'] = 2, ['x = = 1'] = 1,
      ['local s = "x"\n\nwhile true do s = s .. s end'] = 3 } do
      local _, fault = run(source, name)
      assert.same({ name, line }, { fault.file, fault.line })
    end
  end)

  it('that is raised again while variables are closed is the first one still', function()
    local fault = called [[return function()
      local a <close> = setmetatable({}, { __close = function() error 'second' end })
      error 'first'
    end]]
    assert.same({ 3, 'first' }, { fault.line, fault.message })
  end)

  it('with an endless variable to close is what has run away', function()
    local fault = called [[return function()
      local a <close> = setmetatable({}, { __close = function()
        while true do end
      end })
      error 'first'
    end]]
    assert.same({ 3, 'instructions' }, { fault.line, fault.kind })
  end)
end)

describe('print', function()
  it('is a line of the log, with the file', function()
    log.setup('info', false)
    log.capture(true)
    run 'print("a", 1, nil, "b\\nc")'
    assert.matches('level=info msg=print file=rules/evil.lua text="a\\t1\\tnil\\tb\\nc"\n',
      log.capture(false), 1, true)
  end)

  it('floods no log', function()
    local call = rule_function 'return function() while true do print "x" end end'
    log.capture(true)
    assert.is_nil((call()))
    local _, lines = log.capture(false):gsub('\n', '')
    assert.is_true(lines > 50 and lines <= 100, lines)
  end)
end)

-- -- runaways -------------------------------------------------------------------------------------

--- Many variables to close, in the frame of one function.
local function many(n)
  local lines = {}
  for i = 1, n do lines[i] = ('local v%d <close> = closing'):format(i) end
  return table.concat(lines, ' ')
end

local RUNAWAYS = {
  'while true do end',
  '::again:: goto again',
  'repeat until false',
  'while true do pcall(function() while true do end end) end',
  'while true do xpcall(function() while true do end end, function() while true do end end) end',
  'local function f() return f() + 1 end f()',
  'local function f() return f() end f()',
  'local function f() pcall(f) f() end f()',
  'local t = setmetatable({}, {}) getmetatable(t).__index = function(_, k) return t[k + 1] end '
    .. 'while true do pcall(function() return t[1] end) end',
  'local t = {} for i = 1, 1900 do t = setmetatable({}, { __index = t }) end '
    .. 'while true do local x = t.x end',
  'local s = "x" while true do s = s .. s end',
  'local s = "x" while true do pcall(function() s = s .. s end) end',
  'local t = {} while true do t[#t + 1] = ("x"):rep(1000) .. #t end',
  'local t = {} while true do local a, b t[#t + 1] = function() return a, b end end',
  'local t = {} for i = 1, 20000 do t[i + 0.5] = 1 end local i = 0 '
    .. 'while true do i = i + 1 t[i + 0.5] = nil t[i + 20000.5] = 1 end',
  'while true do ("x"):rep(100000000) end',
  'local s = ("x"):rep(100000) while true do s:gsub("x", "%0%0%0%0") end',
  'while true do (("a"):rep(5000)):find(("a-"):rep(12) .. "b") end',
  'local s = ("a"):rep(100000) while true do s:match(".-b") end',
  'local s = ("("):rep(100000) while true do s:find("%b()") end',
  'local f = ("%99.99f"):rep(50) while true do f:format(table.unpack({}, 1, 50)) end',
  'local a, b = ("x"):rep(131000) .. 1, ("x"):rep(131000) .. 1 while true do local c = a < b end',
  'while true do table.concat({}, ("x"):rep(1000), 1, 100) end',
  'local t = {} for i = 1, 9000 do t[i] = i end '
    .. 'while true do table.sort(t, function() return true end) end',
  'while true do table.move({}, 1, 1 << 60, 2) end',
  'while true do pcall(table.unpack, {}, 1, 1 << 60) end',
  'while true do select(-1, table.unpack({}, 1, 200)) end',
  'local s = ("\\u{20ac}"):rep(30000) while true do for _ in utf8.codes(s) do end end',
  'while true do pcall(error, setmetatable({}, { __tostring = function() end }), 1 << 60) end',
  'local closing = setmetatable({}, { __close = function() while true do end end }) '
    .. 'local function f() ' .. many(180) .. ' return (f()) end f()',
  'local closing = setmetatable({}, { __close = function() error {} end }) '
    .. 'local function f() ' .. many(180) .. ' return (f()) end pcall(f)',
  'local e = {} for i = 1, 60000 do e[i + 0.5] = 1 end for i = 1, 60000 do e[i + 0.5] = nil end '
    .. 'local t = {} for i = 1, 60000 do t[i] = e end return t',
  'local s = require "statistics" local t = {} for i = 1, 60000 do t[i] = i * 7919 % 9001 end '
    .. 'while true do s.median(t) end',
  'while true do print "x" end',
}

describe('a runaway', function()
  local TIMED = { instructions = 1000000, allocated = 64 << 20, cpu_ms = 50 }
  -- Seconds: 50 ms and a last step, on cores that others use too. Sanitizers take their time with
  -- each raised error.
  local PATIENCE = os.getenv 'ASAN_OPTIONS' and 60 or 0.2

  before_each(function() log.capture(true) end)
  after_each(function() log.capture(false) end)

  for _, code in ipairs(RUNAWAYS) do
    local title = #code > 90 and code:sub(1, 90) .. '…' or code
    it(('ends, is named, and leaves its cell in order: %s'):format(title), function()
      local call, cell = rule_function(
        ('return function(run)\nif not run then return "fine" end\n%s\nend'):format(code), TIMED)
      call(false)
      local held = cell:usage()
      local before = clock.cpu()
      local ok, fault = call(true)
      local took = clock.cpu() - before
      assert.is_nil(ok)
      assert.equal('rules/evil.lua', fault.file)
      local line = code:find 'return t$' and 1 or fault.line == 4 and 4 or 3 -- 4: its `end`
      assert.equal(line, fault.line)
      assert.is_true(took <= PATIENCE, ('%.1f ms'):format(took * 1000))
      assert.same({ true, 'fine' }, { call(false) })
      assert.is_true(cell:usage() < held + 262144, cell:usage() - held)
    end)
  end

  it('while the file is loaded is named, too', function()
    local fault = fault_of 'local t = {}\nwhile true do\nt.x = 1 end'
    assert.matches('^rules/evil.lua:[23]: took more than 10000000 instructions$', fault)
  end)
end)
