local async = require 'async'
local matrix = require 'matrix'

local NAN = 0 / 0

-- Tables with NaN in them are compared as text.
local function text(rows)
  local out = {}
  for i, row in ipairs(rows) do
    local fields = {}
    for j, v in ipairs(row) do fields[j] = v ~= v and '-' or ('%.17g'):format(v) end
    out[i] = table.concat(fields, ' ')
  end
  return table.concat(out, ' / ')
end

local function failure(f, ...) -- the message with its file:line
  local ok, message = pcall(f, ...)
  assert.is_false(ok)
  return message
end

describe('matrix', function()
  it('is made of rows or of columns', function()
    local rows = matrix.from_rows({ { 1, 2, 3 }, { 4, NAN, 6 } }, { 'a', 'b', 'c' })
    local columns = matrix.from_columns({ { 1, 4 }, { 2, false }, { 3, 6 } }, { 'a', 'b', 'c' })
    for _, m in ipairs { rows, columns } do
      assert.equal(2, m.rows)
      assert.equal(3, m.columns)
      assert.same({ 'a', 'b', 'c' }, m.names)
      assert.equal('1 2 3 / 4 - 6', text(m:to_rows()))
    end
  end)

  it('may be empty and without names', function()
    local none, wide = matrix.from_rows {}, matrix.from_rows({}, { 'a', 'b' })
    assert.same({ 0, 0 }, { none.rows, none.columns })
    assert.is_nil(none.names)
    assert.same({}, none:to_rows())
    assert.same({ 0, 2 }, { wide.rows, wide.columns })
    assert.same({}, wide:column 'b')
  end)

  it('gives cells and columns by number and by name', function()
    local m = matrix.from_rows({ { 1, 2 }, { 3, 4 } }, { 'cpu', 'disk' })
    assert.equal(3, m:get(2, 1))
    assert.equal(4, m:get(2, 'disk'))
    assert.same({ 2, 4 }, m:column 'disk')
    assert.same({ 1, 3 }, m:column(1))
  end)

  it('gives parts of itself', function()
    local m = matrix.from_rows({ { 1, 2, 3 }, { 4, 5, 6 }, { 7, 8, 9 } }, { 'a', 'b', 'c' })
    local part = m:select { 'c', 1 }
    assert.same({ 'c', 'a' }, part.names)
    assert.equal('3 1 / 6 4 / 9 7', text(part:to_rows()))
    assert.equal('4 5 6 / 7 8 9', text(m:slice(2, 3):to_rows()))
    assert.equal('7 8 9', text(m:slice(3):to_rows()))
    assert.equal(0, m:slice(4, 3).rows)
    assert.same({ 'a', 'b', 'c' }, m:slice(1, 1).names)
    assert.equal('7 8 9 / 1 2 3 / 7 8 9', text(m:pick({ 3, 1, 3 }):to_rows()))
    assert.same({ 'a', 'b', 'c' }, m:pick({}).names)
    assert.matches('there is no row 4; the matrix has 3$', failure(m.pick, m, { 4 }))
  end)

  it('says what is wrong, in the line that is', function()
    local m = matrix.from_rows({ { 1, 2 } }, { 'cpu', 'disk' })
    local line
    local message = failure(function()
      line = debug.getinfo(1, 'l').currentline local x = m:column 'cqu' return x
    end)
    assert.matches('matrix_spec.lua:' .. line
      .. ': there is no column "cqu"; did you mean "cpu"%?$', message)
    assert.matches('there is no row 2; the matrix has 1$', failure(m.get, m, 2, 1))
    assert.matches('there is no row 0', failure(m.get, m, 0, 1))
    assert.matches('there is no column 3; the matrix has 2$', failure(m.get, m, 1, 3))
    assert.matches('there is no column 5', failure(m.select, m, { 5 }))
    assert.matches('there are no rows 1 to 2; the matrix has 1$', failure(m.slice, m, 1, 2))
    assert.matches('there are no rows 3 to 1', failure(m.slice, m, 3))
    assert.matches('row 2 has 1 values; expected 2', failure(matrix.from_rows, { { 1, 2 }, { 3 } }))
    assert.matches('row 1 has 2 values; expected 1',
      failure(matrix.from_rows, { { 1, 2 } }, { 'a' }))
    assert.matches('value 1 of row 1 is a string', failure(matrix.from_rows, { { 'x' } }))
    assert.matches('row 1 is a number; expected a table', failure(matrix.from_rows, { 1 }))
    assert.matches('2 names for 1 columns', failure(matrix.from_columns, { { 1 } }, { 'a', 'b' }))
    assert.matches('name 1 is a number', failure(matrix.from_columns, { { 1 } }, { 1 }))
    assert.matches('two columns are named "a"',
      failure(matrix.from_rows, { { 1, 2 } }, { 'a', 'a' }))
    assert.is_false(getmetatable(m))
  end)
end)

describe('matrix.read_csv', function()
  local path
  before_each(function() path = os.tmpname() end)
  after_each(function() os.remove(path) end)

  local function write(content)
    local file <close> = assert(io.open(path, 'wb'))
    file:write(content)
  end

  it('reads names and numbers, and what is missing', function()
    write('ts,"cpu, %",disk\r\n1,0.5,\r\n2,nan,3e2\r\n')
    local m = assert(matrix.read_csv(path))
    assert.same({ 'ts', 'cpu, %', 'disk' }, m.names)
    assert.equal('1 0.5 - / 2 - 300', text(m:to_rows()))
  end)

  it('reads only the wanted columns, in their order, with any delimiter', function()
    write('time;host;value;label\n2020-01-01;a;1;0\n2020-01-02;b;2;1\n')
    local m = assert(matrix.read_csv(path, { columns = { 'label', 'value' }, delimiter = ';' }))
    assert.same({ 'label', 'value' }, m.names)
    assert.equal('0 1 / 1 2', text(m:to_rows()))
  end)

  it('returns what is wrong with a file, with line and column', function()
    write('a,b\n1,2\n3,"x"\n')
    assert.same({ nil, path .. ':3:3: column "b": "x" is no number' }, { matrix.read_csv(path) })
    local _, message = matrix.read_csv(path, { columns = { 'c' } })
    assert.matches(':1:1: there is no column "c"', message)
    assert.matches('^cannot read /no/such/file: No such file',
      select(2, matrix.read_csv '/no/such/file'))
    assert.matches('it is no regular file$', select(2, matrix.read_csv '/dev/zero'))
  end)

  it('raises what is wrong with the call, in the line of the call', function()
    local here = debug.getinfo(1, 'l').currentline
    local message = failure(function()
      local m = matrix.read_csv(path, { delimeter = ';' })
      return m
    end)
    assert.matches('matrix_spec.lua:' .. here + 2 .. ':.*delimeter.*did you mean "delimiter"',
      message)
    assert.matches('delimiter', failure(matrix.read_csv, path, { delimiter = ';;' }))
    assert.matches('delimiter', failure(matrix.read_csv, path, { delimiter = '"' }))
    assert.matches('columns', failure(matrix.read_csv, path, { columns = 'a' }))
    assert.matches('no columns', failure(matrix.read_csv, path, { columns = {} }))
  end)

  it('suspends only its caller', function()
    local lines = { 'a,b,c' }
    for i = 1, 200000 do lines[#lines + 1] = i .. ',0.123456789012345678,3' end
    write(table.concat(lines, '\n'))
    local turns, done = 0, false
    local other = async.spawn(function()
      while not done do
        turns = turns + 1
        async.sleep(0.001)
      end
    end)
    local m = assert(matrix.read_csv(path))
    done = true
    other:await()
    assert.equal(200000, m.rows)
    assert.is_true(turns > 1)
  end)

  it('can be cancelled at any time', function()
    write('a\n' .. ('1\n'):rep(1000000))
    for i = 0, 3 do
      local task = async.spawn(function() return matrix.read_csv(path) end)
      async.sleep(i * 0.005)
      task:cancel()
      assert.is_true(task:state() == 'cancelled' or task:state() == 'done')
    end
  end)

  it('cannot wait in a coroutine of the script itself', function()
    write('a\n1\n')
    local _, message =
      coroutine.resume(coroutine.create(function() return matrix.read_csv(path) end))
    assert.matches('only a task can', message)
  end)
end)
