local repository = require 'lua.risk.repository'
local settings = require 'risk.settings'

local LUA = [[
risk "shop" {
  categories = {
    payments = { pattern = "^services/payments/", weight = 4 },
    database = { pattern = "[.]sql$", weight = 7 },
  },
  size = { lines = 10, weight = 1 },
}
]]

local YAML = [[
# the same
categories:
  payments: { pattern: "^services/payments/", weight: 4 }
  database: { pattern: "[.]sql$", weight: 7 }
size: { lines: 10, weight: 1 }
]]

local function problems(path, text)
  local values, wrong = settings.parse(path, text)
  assert.is_nil(values)
  local out = {}
  for i, p in ipairs(wrong) do out[i] = ('%s:%d: %s'):format(p.file, p.line, p.message) end
  return table.concat(out, '\n')
end

describe('the settings of change risk', function()
  after_each(repository.tidy)

  it('have the two categories of old where a repository says nothing', function()
    local d = settings.defaults()
    local function fits(name, path) return d.categories[name].pattern(path) end
    assert.same({ 3, 5 }, { d.categories.infrastructure.weight, d.categories.database.weight })
    for _, path in ipairs { 'terraform/main.tf', 'deploy/k8s.yaml', 'a/helmfile' } do
      assert.is_true(fits('infrastructure', path))
    end
    for _, path in ipairs { 'db/migrations/1.sql', 'app/schema.rb' } do
      assert.is_true(fits('database', path))
    end
    assert.is_false(fits('infrastructure', 'Terraform/x'))
    assert.is_false(fits('database', 'src/main.c'))
    assert.same({ high = 10, medium = 5 }, d.levels)
  end)

  it('are the same in Lua and in YAML; what they do not name stays', function()
    for path, text in pairs { ['risk.lua'] = LUA, ['risk.yaml'] = YAML } do
      local s = assert(settings.parse(path, text))
      assert.equal(4, s.categories.payments.weight)
      assert.is_true(s.categories.payments.pattern 'services/payments/x.go')
      assert.is_false(s.categories.payments.pattern 'docs/services/payments/x')
      assert.equal(7, s.categories.database.weight)
      assert.equal(3, s.categories.infrastructure.weight)
      assert.same({ lines = 10, weight = 1 }, s.size)
    end
  end)

  it('are told by file and line where they are wrong, all at once', function()
    assert.equal('risk.lua:2: categories.x.pattern: ' .. select(2, settings.parse('risk.yaml',
      'categories: { x: { pattern: "(", weight: 1 } }'))[1].message:match ': (.*)$',
      problems('risk.lua', 'risk "x" {\n  categories = { x = { pattern = "(", weight = 1 } } }'))
    local text = problems('risk.yaml', 'levels: { hihg: 3 }\nsize: { lines: 0 }\n')
    assert.matches('risk.yaml:1: unknown option "hihg"; did you mean "high"?', text, 1, true)
    assert.matches('risk.yaml:2: size.lines: expected a whole number of at least 1', text, 1, true)
    assert.matches('risk.yaml:2: size: option "weight" is missing', text, 1, true)
    assert.matches('risk.yaml:2: ', problems('risk.yaml', 'a: [1'))
    assert.equal('risk.lua:1: expected a declaration: risk "name" { … }', problems('risk.lua', ''))
    assert.matches('risk.lua:2: risk is declared twice', problems('risk.lua',
      'risk "a" {}\nrisk "b" {}'), 1, true)
    assert.matches('risk.lua:1: signal "x" has no place here', problems('risk.lua',
      'signal "x" { query = "x" }'), 1, true)
  end)

  it('run in a cell: without files, without an end, without the world', function()
    assert.matches('risk.lua:1:', problems('risk.lua', 'os.execute "id"'), 1, true)
    assert.matches('they only declare', problems('risk.lua', 'io.open "x"'), 1, true)
    assert.matches('instructions', problems('risk.lua', 'while true do end'), 1, true)
    assert.matches('larger than 64 KiB', problems('risk.yaml', ('# x\n'):rep(20000)), 1, true)
  end)

  it('are those of where the change branched off, not its own', function()
    local r = repository.new { ['risk.lua'] = LUA }
    r:commit { ['risk.lua'] =
      'risk "none" { categories = { database = { pattern = "x", weight = 0 } } }' }
    local base = r:git('merge-base', 'main', 'HEAD'):match '%x+'
    local s, from = settings.at(r.folder, base)
    assert.equal(7, s.categories.database.weight)
    assert.equal('risk.lua', from)
    s, from = settings.at(repository.new().folder, 'HEAD')
    assert.same({ 5, '' }, { s.categories.database.weight, from })
  end)

  it('are a file of a size to be read, whatever the commit has in its place', function()
    local r = repository.new { ['risk.yaml'] = ('# x\n'):rep(20000) }
    local function wrong()
      local s, found = settings.at(r.folder, 'HEAD')
      assert.is_nil(s)
      return ('%s: %s'):format(found[1].file, found[1].message)
    end
    assert.equal('risk.yaml: larger than 64 KiB', wrong())
    local no_file = 'risk.yaml: expected a file, no link, folder or submodule'
    r:commit { ['risk.yaml'] = false }
    r:commit { ['risk.yaml/x'] = 'x' }
    assert.equal(no_file, wrong())
    r:commit { ['risk.yaml/x'] = false }
    os.remove(r.folder .. '/risk.yaml') -- the folder that is left
    assert(os.execute(("ln -s /etc/passwd '%s/risk.yaml'"):format(r.folder)))
    r:commit {}
    assert.equal(no_file, wrong())
  end)

  it('have words that a comment has room for', function()
    assert.matches('recommendations.high: expected a text of at most 1000 bytes',
      problems('risk.yaml', 'recommendations: { high: ' .. ('x'):rep(1001) .. ' }'), 1, true)
  end)

  it('count a pattern as found that takes too long on a path', function()
    local s = assert(settings.parse('risk.yaml',
      'categories: { slow: { pattern: "^(a+)+(b+)+(a|aa|b)+$", weight: 1 } }'))
    assert.is_true(s.categories.slow.pattern(('a'):rep(120) .. ('b'):rep(100) .. '!'))
    assert.is_false(s.categories.slow.pattern 'x')
  end)

  it('lie in one place', function()
    local r = repository.new { ['risk.lua'] = LUA, ['.github/risk.yaml'] = YAML }
    local s, wrong = settings.at(r.folder, 'HEAD')
    assert.is_nil(s)
    assert.matches('is there, too; keep one of them', wrong[1].message, 1, true)
  end)
end)
