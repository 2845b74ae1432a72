--- The documentation holds: its examples run, and it names all there is.
local change_calendar = require 'engine.change_calendar'
local check = require 'check'
local config = require 'config'
local file = require 'perigee.file'
local load_rules = require 'rules.load'
local risk_settings = require 'risk.settings'
local yaml = require 'perigee.yaml'

local PAGES = { 'README.md' }
for _, path in ipairs(assert(file.glob 'docs/*.md')) do PAGES[#PAGES + 1] = path end

local function read(path) return assert(file.read(path, 1 << 20)) end

--- The fenced blocks of every page whose fence says exactly `info`.
local function blocks(info)
  local out = {}
  for _, path in ipairs(PAGES) do
    local line, block = 0, nil
    for text in (read(path) .. '\n'):gmatch '(.-)\n' do
      line = line + 1
      if block and text == '```' then
        out[#out + 1], block = { at = ('%s:%d'):format(path, block.line),
          text = table.concat(block, '\n') }, nil
      elseif block then
        block[#block + 1] = text
      elseif text == '```' .. info then
        block = { line = line }
      end
    end
  end
  return out
end

local function words(problems)
  local out = {}
  for i, p in ipairs(problems) do out[i] = config.problem_text(p) end
  return table.concat(out, '\n')
end

--- Every key of a spec, as the tables of docs/configuration.md write it.
local function keys(spec, prefix, out)
  for name, rule in pairs(spec) do
    local item = rule.item and rule.item.fields
    if rule.fields then
      keys(rule.fields, prefix .. name .. '.', out)
    else
      out[#out + 1] = prefix .. name
      if item then keys(item, prefix .. name .. '[].', out) end
    end
  end
  return out
end

describe('the documentation', function()
  local folder

  setup(function() folder = assert(file.temporary_folder 'perigee-docs') end)
  teardown(function() os.execute(("rm -rf '%s'"):format(folder)) end)

  it('has rule files that load without an error or a warning', function()
    local rules = blocks 'lua'
    assert.is_true(#rules > 15)
    for i, block in ipairs(rules) do
      local path = ('%s/block%d.lua'):format(folder, i)
      assert(file.write(path, block.text))
      local _, errors, warnings = load_rules.load({ path }, { every = 30, limits = {},
        untrained = true })
      assert.equal('', words(errors), block.at)
      assert.equal('', words(warnings), block.at)
    end
  end)

  it('has settings of change risk without an error, and workflows that are YAML', function()
    for info, name in pairs { ['lua risk'] = 'risk.lua', ['yaml risk'] = 'risk.yaml' } do
      local found = blocks(info)
      assert.is_true(#found > 0)
      for _, block in ipairs(found) do
        local values, problems = risk_settings.parse(name, block.text)
        assert(values, values and '' or block.at .. ': ' .. problems[1].message)
      end
    end
    for _, path in ipairs(assert(file.glob 'examples/github/*.yml')) do
      local workflow = assert(yaml.decode(read(path)))
      assert.equal('table', type(workflow.jobs), path)
    end
    assert.equal('composite',
      assert(yaml.decode(read 'examples/github/actions/perigee-risk/action.yml')).runs.using)
  end)

  it('has scripts that run', function()
    local scripts = blocks 'lua script'
    assert.is_true(#scripts >= 4)
    for _, block in ipairs(scripts) do
      local chunk = assert(load(block.text, '=' .. block.at, 't',
        setmetatable({ print = function() end }, { __index = _G })))
      chunk()
    end
  end)

  it('has configurations without an error, but for the files that they name', function()
    for _, block in ipairs(blocks 'yaml') do
      local _, problems = config.parse(folder .. '/perigee.yaml', block.text)
      for _, p in ipairs(problems) do
        assert.truthy(p.message:find 'No such file' or p.message:find 'the environment has no',
          block.at .. ': ' .. p.message)
      end
    end
  end)

  it('has change calendars without an error', function()
    for _, block in ipairs(blocks 'yaml calendar') do
      local windows, problems = change_calendar.parse(block.at, block.text)
      assert.same({}, problems)
      assert.is_true(#windows > 0)
    end
  end)

  it('has alerts that promtool accepts, and that load', function()
    for _, kind in ipairs { 'alerts', 'rules' } do
      for _, block in ipairs(blocks('yaml ' .. kind)) do
        local path = folder .. '/alerts.yaml'
        assert(file.write(path, block.text))
        -- The other rules have keys that Debian's Prometheus is too old for.
        assert.is_true(kind == 'rules'
          or os.execute(('promtool check rules %s >/dev/null'):format(path)), block.at)
        local _, errors, warnings = load_rules.load({ path }, { every = 30, limits = {} })
        assert.equal('', words(errors) .. words(warnings), block.at)
      end
    end
  end)

  it('has configurations of Prometheus that promtool accepts', function()
    for _, block in ipairs(blocks 'yaml prometheus') do
      local path = folder .. '/prometheus.yaml'
      assert(file.write(path, block.text))
      assert.is_true((os.execute(('promtool check config %s >/dev/null'):format(path))), block.at)
    end
  end)

  it('has remediations that load without an error or a warning', function()
    for _, block in ipairs(blocks 'yaml remediations') do
      local path = folder .. '/remediations.yaml'
      assert(file.write(path, block.text))
      local _, errors, warnings = load_rules.load({ path }, { every = 30, limits = {} })
      assert.equal('', words(errors) .. words(warnings), block.at)
    end
  end)

  it('has configurations of Alertmanager that amtool accepts', function()
    for _, block in ipairs(blocks 'yaml alertmanager') do
      local path = folder .. '/alertmanager.yaml'
      assert(file.write(path, block.text))
      assert.is_true((os.execute(('amtool check-config %s >/dev/null'):format(path))), block.at)
    end
  end)

  it('tells of every configuration key', function()
    local page = read 'docs/configuration.md'
    local shared = { ca_file = true, cert_file = true, key_file = true, server_name = true,
      insecure_skip_verify = true }
    local known = keys(config.SPEC, '', {})
    assert.is_true(#known > 40)
    for _, key in ipairs(known) do
      local last = key:match '[^.]+$'
      local written = key:find '%.tls%.' and shared[last] and last or key
      assert.truthy(page:find('`' .. written .. '`', 1, true), key .. ' is not documented')
    end
  end)

  it('tells of no configuration key that is not there', function()
    local known = {}
    for _, key in ipairs(keys(config.SPEC, '', {})) do known[key] = true end
    for key in read 'docs/configuration.md':gmatch '\n| `([%l_.%[%]]+)` |' do
      local is_tls = key == 'ca_file' or key == 'server_name' or key == 'insecure_skip_verify'
      assert.is_true(known[key] or is_tls or key:find '%.tls$' ~= nil, key)
    end
  end)

  it('tells of every metric', function()
    local page = read 'docs/operations.md'
    local source = read 'lua/stdlib/engine/metrics.lua'
    local n = 0
    for name in source:gmatch "[cgh]%l+%('([%l_]+)'" do
      n = n + 1
      assert.truthy(page:find('`perigee_' .. name .. '`', 1, true), name)
    end
    for _, pattern in ipairs { 'runtime/app/*.c', 'runtime/net/*.c' } do
      for _, path in ipairs(assert(file.glob(pattern))) do
        for name in read(path):gmatch '"(perigee_[%l_]+)"' do
          n = n + 1
          assert.truthy(page:find('`' .. name .. '`', 1, true), name)
        end
      end
    end
    assert.is_true(n > 30)
  end)

  it('tells of every command and every path', function()
    local operations, api = read 'docs/operations.md', read 'docs/api.md'
    for _, path in ipairs(assert(file.glob 'lua/stdlib/command/*.lua')) do
      local source = read(path)
      local command = source:match "usage = '(%l+)" or source:match 'Usage: perigee (%l+)'
      if command then assert.truthy(operations:find('perigee ' .. command, 1, true), command) end
    end
    local routes = read 'lua/stdlib/server/routes.lua'
    for path in routes:gmatch "%['(/[%w/_-]+)'%]" do
      assert.truthy(path:find '%.%l+$' or api:find(path, 1, true), path)
    end
    for path in routes:gmatch "'%^(/api/v1/%l+)/" do
      assert.truthy(api:find(path, 1, true), path)
    end
  end)

  it('tells of every detector, action and option of the rule language', function()
    local page = read 'docs/rules.md'
    local vocabulary = require 'rules.vocabulary'
    for _, list in pairs(vocabulary) do
      for _, name in ipairs(list) do assert.truthy(page:find(name, 1, true), name) end
    end
    for _, name in ipairs(vocabulary.detectors) do
      for _, option in ipairs(check.names(require('detectors.' .. name).spec)) do
        assert.truthy(page:find(option, 1, true), name .. ': ' .. option)
      end
    end
    for _, name in ipairs(vocabulary.actions) do
      for _, option in ipairs(check.names(require('actions.registry').get(name).spec)) do
        assert.truthy(page:find('`' .. option .. '`', 1, true), name .. ': ' .. option)
      end
    end
  end)

  it('has links that lead somewhere', function()
    for _, path in ipairs(PAGES) do
      local base = path:match '^(.*/)' or ''
      for target in read(path):gmatch '%]%(([^)%s]+)%)' do
        local page, anchor = target:match '^([^#]*)#?(.*)$'
        if not page:find '^https?:' then
          local text = page == '' and read(path) or file.read(base .. page, 1 << 20)
          assert.truthy(text, ('%s: %s'):format(path, target))
          local heading = anchor:gsub('%-', '[%%s%%-]')
          assert.truthy(anchor == '' or ('\n' .. text):lower():find('\n#+ ' .. heading .. '\n'),
            ('%s: %s'):format(path, target))
        end
      end
    end
  end)
end)
