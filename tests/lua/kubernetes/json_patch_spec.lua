local json = require 'perigee.json'
local json_patch = require 'kubernetes.json_patch'
local support = require 'lua.engine.support'

local function steps(text) return assert(json_patch.steps(text)) end

local function operations(list)
  local out = {}
  for i, o in ipairs(list) do out[i] = { op = o[1], path = steps(o[2]), value = o[3] } end
  return out
end

local function is_list(value) return value[1] ~= nil or getmetatable(value) ~= nil end

--- An object after operations, by the naive way: what the server would do.
local function apply(object, list)
  object = json_patch.copy(object)
  for _, o in ipairs(list) do
    local parent = object
    for i = 1, #o.path - 1 do
      local step = o.path[i]
      parent = parent[is_list(parent) and tonumber(step) + 1 or step]
    end
    local last = o.path[#o.path]
    if is_list(parent) then
      local at = last == '-' and #parent + 1 or tonumber(last) + 1
      if o.op == 'add' then table.insert(parent, at, o.value) end
      if o.op == 'remove' then table.remove(parent, at) end
      if o.op == 'replace' then parent[at] = o.value end
    else
      parent[last] = o.op ~= 'remove' and o.value or nil
    end
  end
  return object
end

describe('kubernetes.json_patch', function()
  it('reads pointers, and says what is none', function()
    assert.same({ 'metadata', 'annotations', 'example.com/a~b' },
      steps '/metadata/annotations/example.com~1a~0b')
    assert.equal('/metadata/annotations/example.com~1a~0b',
      json_patch.text { 'metadata', 'annotations', 'example.com/a~b' })
    for _, wrong in ipairs { '', 'spec', '/', '/a//b', '/a~2', '/a~', 5, {} } do
      assert.is_nil((json_patch.steps(wrong)), tostring(wrong))
      assert.equal('string', type(json_patch.check(wrong)))
    end
    assert.is_nil(json_patch.check '/spec/a')
  end)

  it('makes of a merge patch the operations that are the same', function()
    local object = { spec = { a = 1, list = { 1, 2 }, map = { x = 'y' } } }
    local list = json_patch.of_merge(object,
      { spec = { a = 2, list = { 3 }, map = { z = 'w' }, new = { deep = true } } })
    assert.same({ { 'replace', '/spec/a' }, { 'replace', '/spec/list' }, { 'add', '/spec/map/z' },
      { 'add', '/spec/new' } }, (function()
      local out = {}
      for i, o in ipairs(list) do out[i] = { o.op, json_patch.text(o.path) } end
      return out
    end)())
    assert.same({ spec = { a = 2, list = { 3 }, map = { x = 'y', z = 'w' },
      new = { deep = true } } }, apply(object, list))
  end)

  it('knows what undoes operations, whatever they are', function()
    local object = { spec = { a = 1, list = { 'x', 'y' }, map = { k = 'v' } } }
    for _, list in ipairs {
      operations { { 'replace', '/spec/a', 2 } },
      operations { { 'add', '/spec/a', 2 }, { 'add', '/spec/b', 3 } },
      operations { { 'remove', '/spec/map' } },
      operations { { 'remove', '/spec/list/0' }, { 'add', '/spec/list/1', 'z' } },
      operations { { 'add', '/spec/list/-', 'z' }, { 'replace', '/spec/list/2', 'w' } },
      operations { { 'add', '/spec/new', { q = 1 } }, { 'add', '/spec/new/r', 2 } },
    } do
      local inverse = assert(json_patch.inverse(object, list))
      assert.equal(json.encode(object), json.encode(apply(apply(object, list), inverse)))
    end
  end)

  it('undoes any operations on any object', function()
    local random, undone = support.random(7), 0
    local function value(depth)
      local kind = random(depth > 2 and 2 or 4)
      if kind == 1 then return random(100) end
      if kind == 2 then return 'text ' .. random(9) end
      local out = kind == 3 and json.array() or {}
      for i = 1, random(3) do out[kind == 3 and i or ('k' .. i)] = value(depth + 1) end
      return out
    end
    local function some_path(object)
      local path, at = {}, object
      repeat
        local step = is_list(at) and tostring(random(#at + 1) - 1) or 'k' .. random(4)
        path[#path + 1] = step
        at = at[is_list(at) and tonumber(step) + 1 or step]
      until type(at) ~= 'table' or random(3) == 1
      return path
    end
    for _ = 1, 2000 do
      local object = { k1 = value(0), k2 = value(0) }
      local now, list = json_patch.copy(object), {}
      for i = 1, random(4) do
        list[i] = { op = ({ 'add', 'replace', 'remove' })[random(3)], path = some_path(now) }
        if list[i].op ~= 'remove' then list[i].value = value(1) end
        if not json_patch.inverse(now, { list[i] }) then
          list[i] = nil
          break
        end
        now = apply(now, { list[i] })
      end
      local inverse = assert(json_patch.inverse(object, list))
      assert.equal(json.encode(object), json.encode(apply(now, inverse)))
      undone = undone + #list
    end
    assert.is_true(undone > 1500)
  end)

  it('says what is not there, and leaves the object as it was', function()
    local object = { spec = { list = { 'x' } } }
    for path, words in pairs { ['/spec/none'] = 'there is no /spec/none',
      ['/none/a'] = 'there is no /none', ['/spec/list/5'] = 'there is no /spec/list/5' } do
      local inverse, message = json_patch.inverse(object, operations { { 'replace', path, 1 } })
      assert.is_nil(inverse)
      assert.equal(words, message)
    end
    assert.same({ spec = { list = { 'x' } } }, object)
  end)

  it('shows by the nearest list whether somebody else has been there', function()
    local object = { spec = { containers = { { name = 'a', image = 'i' } } } }
    assert.same({ 'spec', 'containers' },
      json_patch.root(object, steps '/spec/containers/0/image'))
    assert.same({ 'spec', 'none', 'deep' }, json_patch.root(object, steps '/spec/none/deep'))
  end)

  it('sends operations under the condition of a version', function()
    assert.equal('[{"op":"replace","path":"/metadata/resourceVersion","value":"7"},'
      .. '{"op":"add","path":"/spec/a","value":1}]',
      json.encode(json_patch.body(operations { { 'add', '/spec/a', 1 } }, '7')))
  end)
end)
