local changes = require 'risk.changes'
local repository = require 'lua.risk.repository'

--- Files as "status path" texts, with the lines that came and went.
local function told(change)
  local out = {}
  for i, f in ipairs(change.files) do
    out[i] = ('%s %s%s %s'):format(f.status, f.old_path and f.old_path .. ' > ' or '', f.path,
      f.binary and 'binary' or ('+%d-%d'):format(f.additions, f.deletions))
  end
  return out
end

describe('the files of a change', function()
  after_each(repository.tidy)

  it('are those since it branched off, not those that the base has got since', function()
    local r = repository.new { kept = 'a\n', other = 'b\n' }
    r:commit { kept = 'a\nb\n', new = 'x\n' }
    r:git('checkout', '-q', 'main')
    local tip = r:commit { other = 'changed\n' }
    r:git('checkout', '-q', 'feature')
    local change = assert(changes.read(r.folder, 'main', 'HEAD'))
    assert.same({ 'modified kept +1-0', 'added new +1-0' }, told(change))
    assert.are_not.equal(tip, change.base)
    assert.equal(r:git('merge-base', 'main', 'HEAD'):match '%x+', change.base)
    assert.is_false(change.shallow)
  end)

  it('are renamed, copied within one, deleted, binary, and of another type', function()
    local long = ('a line of text\n'):rep(50)
    local r = repository.new { ['old/name'] = long, gone = 'x\n', plain = 'p\n',
      ['data.bin'] = '\0a' }
    r:commit { ['old/name'] = false, ['new/name'] = long .. 'and one\n', gone = false,
      ['data.bin'] = '\0bc' }
    os.remove(r.folder .. '/plain')
    assert(os.execute(("ln -s new '%s/plain'"):format(r.folder)))
    r:commit {}
    assert.same({ 'modified data.bin binary', 'deleted gone +0-1',
      'renamed old/name > new/name +1-0', 'type_changed plain +1-1' },
      told(assert(changes.read(r.folder, 'main', 'HEAD'))))
  end)

  it('may have any name', function()
    local r = repository.new()
    local names = { 'a b', 'c\td', 'e\nf', '-n', 'ö\xC3', '"q"', 'x>y', '::error::no' }
    local files = {}
    for _, name in ipairs(names) do files[name] = 'x\n' end
    r:commit(files)
    table.sort(names)
    local found = {}
    local change = assert(changes.read(r.folder, 'main', 'HEAD'))
    for i, f in ipairs(change.files) do found[i] = f.path end
    assert.same(names, found)
  end)

  it('are told apart from those of the working tree, and none is fine', function()
    local r = repository.new()
    assert.same({}, told(assert(changes.read(r.folder, 'main', 'HEAD'))))
    assert(io.open(r.folder .. '/README', 'w')):write('not committed'):close()
    assert.same({}, told(assert(changes.read(r.folder, 'main', 'HEAD'))))
  end)

  it('can be those of a commit that is not checked out', function()
    local r = repository.new()
    local sha = r:commit { new = 'x\n' }
    r:git('checkout', '-q', 'main')
    assert.same({ 'added new +1-0' }, told(assert(changes.read(r.folder, 'main', sha))))
  end)
end)

describe('a clone', function()
  after_each(repository.tidy)

  it('is understood whatever its configuration and the folder in it', function()
    local r = repository.new { ['sub/x'] = 'x\n' }
    for key, value in pairs { ['diff.relative'] = 'true', ['color.ui'] = 'always',
      ['diff.renames'] = 'false', ['diff.noprefix'] = 'true', ['log.showSignature'] = 'true' } do
      r:git('config', key, value)
    end
    r:commit { new = 'x\n' }
    assert.same({ 'added new +1-0' }, told(assert(changes.read(r.folder .. '/sub', 'main',
      'HEAD'))))
  end)

  it('may be bare, a worktree, detached, and have merges of many and submodules', function()
    local r = repository.new()
    local sha = r:git('rev-parse', 'HEAD'):match '%x+'
    for i = 1, 3 do
      r:git('checkout', '-q', '-b', 'b' .. i, 'main')
      r:commit { ['f' .. i] = 'x\n' }
    end
    r:git('checkout', '-q', 'feature')
    r:git('merge', '-q', '-m', 'of three', 'b1', 'b2', 'b3')
    r:git('update-index', '--add', '--cacheinfo', '160000,' .. sha .. ',sub')
    r:git('commit', '-q', '-m', 'a submodule')
    r:git('checkout', '-q', '--detach')
    local expected = { 'added f1 +1-0', 'added f2 +1-0', 'added f3 +1-0', 'added sub +1-0' }
    r:git('worktree', 'add', '-q', r.folder .. '/.git/tree', 'main')
    local bare = r:clone '--bare'
    for folder, base in pairs { [r.folder] = 'main', [r.folder .. '/.git/tree'] = 'main',
      [bare.folder] = 'main' } do
      assert.same(expected, told(assert(changes.read(folder, base, 'feature'))))
    end
    assert.same(expected, told(assert(changes.read(r.folder, 'main', 'HEAD'))))
  end)
end)

describe('a change that cannot be told', function()
  after_each(repository.tidy)

  local function refused(folder, base, head)
    local change, message = changes.read(folder, base, head or 'HEAD')
    assert.is_nil(change)
    return message
  end

  it('names the commit that is not there', function()
    local r = repository.new()
    assert.equal('there is no commit "origin/main" in this clone; name another with --base',
      refused(r.folder, 'origin/main'))
    assert.equal('there is no commit "nope" in this clone', refused(r.folder, 'main', 'nope'))
    for _, name in ipairs { '--output=x', '-x', '', 'a b' } do
      assert.matches('is no name of a commit', refused(r.folder, name), 1, true)
    end
  end)

  it('says that a clone is shallow, and what to do', function()
    local r = repository.new()
    r:commit { new = 'x\n' }
    r:git('checkout', '-q', 'main')
    r:commit { other = 'x\n' }
    local clone = r:clone('--depth', '1', '--no-single-branch', '--branch', 'feature')
    assert.matches('shallow and does not go back.*fetch%-depth: 0',
      refused(clone.folder, 'origin/main'))
    clone:git('fetch', '-q', '--unshallow')
    assert.same({ 'added new +1-0' }, told(assert(changes.read(clone.folder, 'origin/main',
      'HEAD'))))
  end)

  it('says that a clone is partial, on one line', function()
    local r = repository.new { old = ('a\n'):rep(9) }
    r:git('config', 'uploadpack.allowFilter', 'true')
    r:commit { old = false, new = ('a\n'):rep(9) .. 'b\n' }
    local clone = r:clone('--filter=blob:none', '--no-checkout')
    local words = refused(clone.folder, 'origin/main', 'origin/feature')
    assert.matches('^this clone is partial and lacks [^\n]*without %-%-filter', words)
  end)

  it('has no commit in common with its base, or is no repository', function()
    local r = repository.new()
    r:git('checkout', '-q', '--orphan', 'stranger')
    r:commit { alone = 'x\n' }
    assert.equal('HEAD and main have no commit in common', refused(r.folder, 'main'))
    assert.matches('not a git repository', refused('/', 'main'))
    assert.equal('there is no folder /none', refused('/none', 'main'))
  end)

  it('runs nothing of what lies in the repository', function()
    local r = repository.new { ['.gitattributes'] = '* diff=evil\n', f = 'a\n' }
    local mark = r.folder .. '/.git/was-run'
    for _, key in ipairs { 'diff.external', 'diff.evil.command', 'diff.evil.textconv',
      'core.fsmonitor' } do
      r:git('config', key, ('touch %s; cat'):format(mark))
    end
    r:commit { f = 'b\n' }
    os.remove(mark)
    assert.same({ 'modified f +1-1' }, told(assert(changes.read(r.folder, 'main', 'HEAD'))))
    assert.is_nil(io.open(mark))
  end)
end)
